"""A comparison of runs as people read it: a page with pictures, and tables for a terminal, Markdown and LaTeX."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from tabulate import tabulate

from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation import Comparison, Difference, Subset
from simpleseg_core.metrics import HEADLINES, METRICS, Interval, Metric
from simpleseg_core.report.page import page_environment
from simpleseg_core.report.panels import Album, Shot
from simpleseg_core.report.sources import today
from simpleseg_core.viz import intervals_svg, series_colour

Row = Mapping[str, Any]

_SHOTS = 6
TABLE_FORMATS = {".md": "github", ".tex": "latex_booktabs", ".txt": "simple"}
"""Suffix of a file -> the format of its tables."""


@dataclass(frozen=True, slots=True)
class Change:
    """One query as the first run answered it and as another one did."""

    before: Shot
    after: Shot


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run answers otherwise than the first, by benchmark."""

    benchmark: str
    run: str
    lost: list[Change]
    won: list[Change]


def render_comparison(
    found: Sequence[Comparison], images: ImageStore, drawable: Callable[[Row], bool], *, shots: int = _SHOTS
) -> str:
    """The page as HTML text, with everything inside: tables, a plot, the `shots` largest losses and gains of each run.

    Args:
        images: the pictures of the queries.
        drawable: whether the picture of a query is among them.
    """
    album, runs = Album(images), list(found[0].rows)
    values = {
        "style": Markup((Path(__file__).parent / "style.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
        "comparisons": found,
        "first": runs[0],
        "runs": runs,
        "colours": {run: series_colour(index) for index, run in enumerate(runs)},
        "metrics": METRICS,
        "headlines": HEADLINES,
        "plot": Markup(_plot(found)),  # noqa: S704 (matplotlib has escaped every text in it)
        "changes": [_changes(each, run, album, drawable, shots) for each in found for run in runs[1:]],
        "date": today(),
        "frames": album.frames.values(),
    }
    return page_environment().get_template("comparison.html.jinja").render(values)


def comparison_table(found: Comparison, style: str, metrics: dict[str, Metric] = METRICS) -> str:
    """One benchmark as a table of text: a line a metric, a column a run, differences with their intervals beside.

    Args:
        style: name of a format of the package tabulate.
    """
    first, *others = found.rows
    header = ["", first, *(text for run in others for text in (run, f"{run} - {first}"))]
    lines = [list(_line(found, metric)) for name, metric in metrics.items() if name in found.summaries[first]]
    return str(tabulate(lines, header, tablefmt=style, disable_numparse=True))


def parts_table(found: Comparison, metric: str, style: str) -> str:
    """One metric on each part of a benchmark as a table of text: differences with their intervals."""
    header = ["", "queries", *(f"{run} - {next(iter(found.rows))}" for run in found.whole.differences)]
    lines = [list(_part_line(part, metric)) for part in (found.whole, *found.parts)]
    return str(tabulate(lines, header, tablefmt=style, disable_numparse=True))


def text_report(found: Sequence[Comparison], style: str) -> str:
    """Every benchmark as tables of text: all metrics, then gIoU part by part."""
    return "\n\n".join(
        part
        for each in found
        for part in (
            f"{each.benchmark}: {each.queries} queries{f', {each.left_out} left out' if each.left_out else ''}",
            comparison_table(each, style),
            f"Difference in {METRICS['giou'].label}, part by part",
            parts_table(each, "giou", style),
        )
    )


def _line(found: Comparison, metric: Metric) -> Iterator[str]:
    first, *others = found.rows
    yield f"{metric.label}, {metric.unit}" if metric.unit in ("%", "px") else metric.label
    yield _interval(found.summaries[first][metric.name])
    for run in others:
        yield _interval(found.summaries[run].get(metric.name))
        yield _difference(found.whole.differences[run].get(metric.name))


def _part_line(part: Subset, metric: str) -> Iterator[str]:
    yield part.name
    yield str(part.count)
    for table in part.differences.values():
        yield _difference(table.get(metric))


def _interval(found: Interval | None) -> str:
    return f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}]" if found else "-"


def _difference(found: Difference | None) -> str:
    if found is None:
        return "-"
    numbers = f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    return numbers if found.verdict == "unclear" else f"{numbers} {found.verdict}"


def _plot(found: Sequence[Comparison]) -> str:
    rows = [
        (
            each.benchmark,
            {run: (table["giou"].mean, table["giou"].low, table["giou"].high) for run, table in each.summaries.items()},
        )
        for each in found
    ]
    return intervals_svg(rows, "gIoU, %")


def _changes(found: Comparison, run: str, album: Album, drawable: Callable[[Row], bool], count: int) -> Changes:
    before, after = next(iter(found.rows.values())), found.rows[run]

    def drawn(indices: list[int]) -> list[Change]:
        shown = [index for index in indices if drawable(before[index])]
        return [Change(album.shot(before[index]), album.shot(after[index])) for index in shown]

    lost, won = found.changed(run, count)
    return Changes(found.benchmark, run, drawn(lost), drawn(won))
