"""The report on a telephone, as Chromium lays it out: the page stands still, and what is wider moves within itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser import browsing
from tests.tasks.test_report import fabricate, report

WIDTH = 420
_WIDER = """width => [...document.querySelectorAll('main *, header *, body > *')]
    .filter(each => each.getBoundingClientRect().right > width + 1)
    .filter(each => {
        for (let around = each.parentElement; around; around = around.parentElement)
            if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(around).overflowX)) return false
        return true
    })
    .map(each => each.tagName + '.' + each.className)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    root: Path = tmp_path_factory.mktemp("narrow")
    fabricate(root)
    report(root)
    with browsing() as browser:
        window = browser.new_page(viewport={"width": WIDTH, "height": 800})
        window.goto((root / "reports/report.html").as_uri())
        yield window


def test_the_page_does_not_scroll_sideways(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    assert page.evaluate(_WIDER, WIDTH) == []


def test_tables_that_are_wider_scroll_within_themselves(page: Page) -> None:
    tables = page.locator("table")
    assert tables.count() > 0
    widths = tables.evaluate_all("tables => tables.map(table => [table.scrollWidth, table.parentElement.clientWidth])")
    assert any(table > box for table, box in widths)
    assert all(box <= WIDTH for _, box in widths)


def test_its_text_is_large_enough_to_read(page: Page) -> None:
    sizes = page.locator("p, td, th").evaluate_all(
        "all => all.map(each => parseFloat(getComputedStyle(each).fontSize))"
    )
    assert min(sizes) >= 12
