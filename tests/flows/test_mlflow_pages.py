"""MLflow's pages as Chromium shows them: runs that are told apart, scores as columns, what differs, named pictures."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Page

from flows.cli.ui import show_links
from flows.servers import Servers
from flows.servers.access import Access
from flows.servers.launch import listen, mlflow_page, started
from simpleseg_core.config import TrackingConfig
from simpleseg_core.config.files import load_config
from tasks.runs.tracking import PARENT_VARIABLE, Scores, Store, pipeline_run, stage_run
from tasks.runs.workspace import Workspace
from tests.browser import browsing
from tests.tiny_pipeline import make_workspace

pytestmark = pytest.mark.slow
PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Runs:
    """Two pipeline runs of different tolerances in a store of their own, each with a stage that drew a picture."""

    workspace: Workspace
    tracking: TrackingConfig
    parents: tuple[str, ...]
    child: str
    experiment: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    workspace = make_workspace(tmp_path_factory.mktemp("runs"))
    first, second = _logged(workspace, 0.02, 71.4), _logged(workspace, 0.05, 66.6)
    tracking = load_config(workspace.params).tracking
    store = Store.open(workspace, tracking)
    [child] = [
        run.info.run_id
        for run in store.client.search_runs([store.experiment])
        if run.data.tags.get("mlflow.parentRunId") == first
    ]
    return Runs(workspace, tracking, (first, second), child, store.experiment)


def _logged(workspace: Workspace, tolerance: float, giou: float) -> str:
    settings = [f"contour.tolerance={tolerance}", "tracking.system_metrics=false"]
    config = load_config(workspace.params, settings)
    scores = Scores({"rl/refshapes/val/giou": giou, "rl/refshapes/val/tokens": 72.0})
    with pytest.MonkeyPatch.context() as environment, pipeline_run(workspace, config, None, lambda: scores) as parent:
        environment.setenv(PARENT_VARIABLE, parent)
        with stage_run(workspace, "sft", config) as run:
            run.tracker.metrics({"loss": 1.0}, 1)
            run.tracker.image("sft answers", np.full((64, 64, 3), 200, np.uint8), 5)
    return parent


@pytest.fixture(scope="module")
def link(runs: Runs) -> Iterator[str]:
    """What `simpleseg ui` prints for MLflow, while its server runs."""
    opened, access = listen("127.0.0.1", 0), Access.new()
    page = mlflow_page(runs.workspace, runs.tracking, opened, access)
    with started(runs.workspace, access, (page,), Event()):
        yield _printed(Servers("http://127.0.0.1:9", page.url, access), runs)


def _printed(servers: Servers, runs: Runs) -> str:
    with pytest.MonkeyPatch.context() as patched:
        lines: list[str] = []
        patched.setattr("flows.cli.ui.out.print", lambda line, **_: lines.append(line))
        show_links(servers, runs.workspace, runs.tracking)
    return lines[-1].split()[-1]


@pytest.fixture(scope="module")
def page(link: str) -> Iterator[Page]:
    """A browser window that has followed the link."""
    with browsing() as browser:
        window = browser.new_page(viewport={"width": 1900, "height": 900})
        window.goto(link)
        yield window


def test_the_link_leads_to_a_table_whose_names_and_columns_tell_runs_apart(page: Page, runs: Runs) -> None:
    assert f"#/experiments/{runs.experiment}/runs?workflowType=machine_learning" in page.url
    for name in ("nano: 71.4 gIoU", "nano, contour.tolerance=0.05: 66.6 gIoU"):
        page.get_by_text(name, exact=True).first.wait_for(timeout=PATIENCE_MS)
    shown = page.inner_text("body").splitlines()
    assert {"rl/refshapes/val/giou", "71.4", "66.6", "profile"} <= set(shown)
    assert "rl/refshapes/val/tokens" not in shown
    assert "sft" not in shown, "stages are folded away under their pipeline runs"


def test_the_comparison_shows_the_parameters_that_differ(page: Page, runs: Runs) -> None:
    chosen = f"runs={quote(json.dumps(runs.parents))}&experiments={quote(json.dumps([runs.experiment]))}"
    page.goto(f"{page.url.partition('#')[0]}#/compare-runs?{chosen}")
    page.get_by_text("Show diff only").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_text("contour.min_area").first.wait_for(timeout=PATIENCE_MS)
    page.get_by_role("switch").first.click()
    page.get_by_text("contour.min_area").first.wait_for(state="detached", timeout=PATIENCE_MS)
    rows = [line.split() for line in page.inner_text("body").splitlines()]
    assert ["contour.tolerance", "0.02", "0.05"] in rows


def test_a_stage_leads_to_its_pipeline_run_and_its_pictures_bear_names(page: Page, runs: Runs) -> None:
    place = f"{page.url.partition('#')[0]}#/experiments/{runs.experiment}/runs/{runs.child}"
    page.goto(place)
    page.get_by_role("link", name="nano: 71.4 gIoU").first.wait_for(timeout=PATIENCE_MS)
    page.goto(f"{place}/artifacts")
    page.get_by_text("images", exact=True).first.click(timeout=PATIENCE_MS)
    page.get_by_text("sft answers+step+5").first.wait_for(timeout=PATIENCE_MS)
