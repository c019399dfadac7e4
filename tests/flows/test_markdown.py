"""Markdown of the artifacts: whatever a text says, the page shows the text."""

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows import markdown
from flows.refresh import Images, summary
from simpleseg_core.plain import one_line

_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_HOSTILE = (
    "CC-BY\n\n# owned\n",
    "[licence](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "see https://evil.example or www.evil.example or a@evil.example",
    "a | b | c",
    "**bold** _it_ `code` ~~gone~~ $x$ &lt;b&gt; http_404",
    "# heading",
    "- item",
    "1. item",
    "---",
    "\\[x\\](y)",
    "\x1b[31mred",
)
_texts = st.text(st.sampled_from("ab1 \n\t*_`[]()<>|~&!#+-=.:/@\\$\x1b"), max_size=30) | st.sampled_from(_HOSTILE)


def shown(page: str) -> tuple[list[str], set[str]]:
    """The texts of a page, and what they are inside of."""
    pieces, kinds = [], set()
    for token in _PARSER.parse(page):
        for child in token.children or ():
            (pieces.append(child.content) if child.type == "text" else kinds.add(child.type))
        kinds.add(token.type)
    return pieces, kinds


@given(_texts)
@example("[a]: /b")
def test_a_text_is_shown_as_it_is_and_is_nothing_else(value: str) -> None:
    for before in ("", "x "):
        pieces, kinds = shown(before + markdown.text(value))
        assert kinds <= {"paragraph_open", "paragraph_close", "inline"}
        assert "".join(pieces) == (before + one_line(value, 200)).strip()


@given(st.lists(_texts, min_size=1, max_size=4))
def test_a_cell_stays_in_its_row(values: list[str]) -> None:
    page = markdown.table(["name", "rows"], [(markdown.text(value), "1") for value in values])
    tokens = [token.type for token in _PARSER.parse(page)]
    assert tokens.count("tr_open") == len(values) + 1
    assert tokens.count("td_open") == 2 * len(values)
    assert tokens.count("table_open") == 1


def test_addresses_do_not_become_links() -> None:
    said = markdown.text("see https://evil.example or www.evil.example or a@evil.example")
    assert said == "see https\\://evil.example or www\\.evil.example or a\\@evil.example"


def test_numbers_stay_numbers_in_the_cells_of_a_table() -> None:
    assert markdown.cells([{"filter": "<b>", "kept": 5, "share": 0.5}]) == [
        {"filter": "\\<b\\>", "kept": 5, "share": 0.5}
    ]


def test_the_page_of_a_refresh_is_short_and_names_the_ten_most_frequent() -> None:
    licenses = Counter({f"licence {number}": number + 1 for number in range(100_000)})
    licenses.update(dict.fromkeys(_HOSTILE, 1_000_000))
    nothing = Images(Counter(), Counter(), ())
    page = summary(nothing, Images(Counter(ok=3, http_404=2), licenses, ()), {"data/`x`|": "a|b`"}, examples=0)
    assert len(page) < 5_000
    assert "others |" in page
    assert "\x1b" not in page
    assert shown(page)[1] & {"link_open", "image", "html_inline", "html_block", "hr", "bullet_list_open"} == set()
    assert _PARSER.render(page).count("<table>") == 3
    assert "| http_404 | 2 |" in page
