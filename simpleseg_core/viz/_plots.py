"""Plots as inline SVG that takes the colours of the page it stands in, so that it reads on light and on dark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray

# Written into the SVG and replaced by CSS afterwards: matplotlib itself knows no page colours.
_TEXT, _GRID = "#010203", "#040506"
_STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "simpleseg", "font.family": "sans-serif", "font.size": 9.0,
    "text.color": _TEXT, "axes.labelcolor": _TEXT, "xtick.color": _TEXT, "ytick.color": _TEXT,
    "axes.edgecolor": _GRID, "grid.color": _GRID, "axes.grid": True, "axes.axisbelow": True,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.0,
    "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip
SERIES_COLOURS = ("#8a94a6", "#2f7ed8", "#e2348b", "#3aa76d", "#e69a17", "#8257c8")
_WINDOWS = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the steps of a run."""

    name: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]


def curves_svg(curves: Sequence[Curve], columns: int = 3) -> str:
    """Small multiples, one for each curve: the values faintly, their moving average boldly.

    Raises:
        ValueError: no curves.
    """
    if not curves:
        raise ValueError("no curves to plot")
    rows = -(-len(curves) // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(3.4 * columns, 2.2 * rows), layout="constrained")
        for index, curve in enumerate(curves):
            _draw_curve(figure.add_subplot(rows, columns, index + 1), curve)
        return _svg(figure, "Training curves: " + ", ".join(curve.name for curve in curves))


def _draw_curve(axes: Axes, curve: Curve) -> None:
    axes.set_title(curve.name)
    axes.set_xlabel("step")
    smooth = _moving_average(curve.values)
    if len(curve.values) < 3:
        axes.plot(curve.steps, curve.values, "o", color=SERIES_COLOURS[1])
        return
    axes.plot(curve.steps, curve.values, color=SERIES_COLOURS[1], alpha=0.3, linewidth=1)
    axes.plot(curve.steps, smooth, color=SERIES_COLOURS[1], linewidth=1.8)


def _moving_average(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponential, over about a twentieth of the curve; the first values are not biased towards zero."""
    keep = 1 - min(1.0, 2 / (len(values) / _WINDOWS + 1))
    smooth, total, weight = np.empty_like(values), 0.0, 0.0
    for index, value in enumerate(values):
        total, weight = keep * total + value, keep * weight + 1
        smooth[index] = total / weight
    return smooth


def intervals_svg(rows: Sequence[tuple[str, Mapping[str, tuple[float, float, float]]]], label: str) -> str:
    """A dot with its interval for each series in each row.

    Args:
        rows: row name and, for each series, (value, low, high); series keep their colour over the rows.
        label: name of the horizontal axis.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("no rows to plot")
    series = list(dict.fromkeys(name for _, values in rows for name in values))
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.6, 0.75 + 0.22 * len(rows) * (len(series) + 1)), layout="constrained")
        axes = figure.add_subplot()
        for row, (_, values) in enumerate(rows):
            if row:
                axes.axhline(row - 0.5, color=_GRID, linewidth=0.8)
            for name, (value, low, high) in values.items():
                index = series.index(name)
                y = row + (index - (len(series) - 1) / 2) / (len(series) + 1)
                axes.plot(
                    [low, high], [y, y], color=series_colour(index), linewidth=2.5, alpha=0.55, solid_capstyle="round"
                )
                axes.plot([value], [y], "o", color=series_colour(index), label=name if row == 0 else None)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)
        _legend(figure, axes)
        return _svg(figure, f"{label} with intervals: " + ", ".join(name for name, _ in rows))


def success_svg(series: Mapping[str, NDArray[np.float64]], title: str) -> str:
    """Percentage of queries whose IoU reaches a threshold, over all thresholds, for each series of IoUs in [0, 1].

    Raises:
        ValueError: no series, or one without values.
    """
    if not series or any(len(values) == 0 for values in series.values()):
        raise ValueError("a success plot needs at least one IoU for each series")
    thresholds = np.linspace(0, 1, 201)
    with rc_context(_STYLE):
        figure = Figure(figsize=(3.6, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for index, (name, values) in enumerate(series.items()):
            reached = 100 * (1 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values))
            axes.plot(thresholds, reached, color=series_colour(index), linewidth=1.8, label=name)
        axes.set(title=title, xlabel="IoU threshold", ylabel="% of queries", xlim=(0, 1), ylim=(0, 102))
        _legend(figure, axes)
        return _svg(figure, f"{title}: share of queries that reach an IoU")


def series_colour(index: int) -> str:
    """Colour of a series, the same in every plot and table of a page."""
    return SERIES_COLOURS[index % len(SERIES_COLOURS)]


def _legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(handles, names, loc="outside upper right", ncols=len(names), frameon=False)


def _svg(figure: Figure, description: str) -> str:
    for axes in figure.axes:
        axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": description})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_TEXT, "currentColor").replace(_GRID, "var(--line, #8888)")
    return svg.replace("<svg", '<svg role="img" class="plot"', 1)
