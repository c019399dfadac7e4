"""Plots about data: the funnel of the filters, and histograms."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from simpleseg_core.viz._overlay import RgbImage
from simpleseg_core.viz._plots import _STYLE, SERIES_COLOURS, _legend, _svg, series_colour

_KEPT, _DROPPED = SERIES_COLOURS[1], SERIES_COLOURS[2]
_PAPER_STYLE = _STYLE | {
    "text.color": "#1c2128", "axes.labelcolor": "#1c2128", "xtick.color": "#1c2128", "ytick.color": "#1c2128",
    "axes.edgecolor": "#c8ced6", "grid.color": "#e1e5ea",
}  # fmt: skip

FunnelRows = Sequence[Mapping[str, Any]]
"""`filter`, `kept` and `dropped` of each filter in order, the first row being what came in."""


def funnel_svg(rows: FunnelRows) -> str:
    """What each filter kept and dropped, as SVG that takes the colours of its page.

    Raises:
        ValueError: no rows.
    """
    with rc_context(_STYLE):
        description = ", ".join(f"{row['filter']} {row['kept']} kept, {row['dropped']} dropped" for row in rows)
        return _svg(_funnel(rows), f"Filter funnel: {description}")


def funnel_picture(rows: FunnelRows) -> RgbImage:
    """The same, as a picture on white: uint8 (h, w, 3) RGB.

    Raises:
        ValueError: no rows.
    """
    buffer = BytesIO()
    with rc_context(_PAPER_STYLE):
        _funnel(rows).savefig(buffer, format="png", dpi=120)
    return np.asarray(Image.open(buffer).convert("RGB"))


def histogram_svg(
    edges: ArrayLike,
    series: Mapping[str, ArrayLike],
    title: str,
    label: str,
    unit: str = "instances",
    marker: tuple[float, str] | None = None,
) -> str:
    """Shares of each series in bins, in percent, over each other.

    Args:
        edges: (N + 1,) of the bins.
        series: counts (N,) of each.
        label: name of the horizontal axis.
        unit: what is counted.
        marker: a value on the horizontal axis with a line at it, and its name.

    Raises:
        ValueError: no series.
    """
    if not series:
        raise ValueError("no series to plot")
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for index, (name, counts) in enumerate(series.items()):
            _stairs(axes, np.asarray(counts, np.float64), np.asarray(edges, np.float64), name, index)
        axes.set(title=title, xlabel=label, ylabel=f"% of {unit}")
        axes.margins(x=0)
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", nbins=6)
        if marker:
            _mark(axes, *marker)
        _legend(figure, axes)
        return _svg(figure, f"{title}: histogram of {', '.join(series)} by {label}")


def _stairs(axes: Axes, counts: NDArray[np.float64], edges: NDArray[np.float64], name: str, index: int) -> None:
    shares = 100 * counts / max(1.0, float(counts.sum()))
    colour = series_colour(index + 1)
    axes.stairs(shares, edges, fill=True, alpha=0.35, color=colour)
    axes.stairs(shares, edges, color=colour, linewidth=1.5, label=name)


def _mark(axes: Axes, value: float, name: str) -> None:
    axes.axvline(value, color=_DROPPED, linewidth=1.4, linestyle=(0, (4, 3)))
    right = value < np.mean(axes.get_xlim())
    axes.annotate(
        name, (value, 1), xycoords=("data", "axes fraction"), xytext=(4 if right else -4, -2),
        textcoords="offset points", ha="left" if right else "right", va="top", fontsize=8,
    )  # fmt: skip


def _funnel(rows: FunnelRows) -> Figure:
    if not rows:
        raise ValueError("a funnel needs at least one row")
    figure = Figure(figsize=(7.6, 0.6 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    kept, dropped = (np.array([float(row[name]) for row in rows]) for name in ("kept", "dropped"))
    most = max(1.0, float((kept + dropped).max()))
    axes.barh(places, kept, 0.72, color=_KEPT, alpha=0.85, label="kept")
    axes.barh(places, dropped, 0.72, left=kept, color=_DROPPED, alpha=0.85, label="dropped")
    for place, (stays, goes) in enumerate(zip(kept, dropped, strict=True)):
        text = f"{stays:,.0f}" + (f"   −{goes:,.0f} ({goes / (stays + goes):.1%})" if goes else "")
        axes.text(stays + goes + 0.012 * most, place, text, va="center", fontsize=8.5)
    axes.set_yticks(places, [str(row["filter"]).replace("_", " ") for row in rows])
    axes.set_xlim(0, 1.24 * most)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("instances")
    _legend(figure, axes)
    return figure
