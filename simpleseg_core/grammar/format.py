"""Targets -> text: polygons, points and boxes in one of two styles."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar._types import Style


def format_polygons(polygons: Sequence[Polygon], *, style: Style = "permille") -> str:
    """`[[[x,y],[x,y],...],...]` for polygons (each (N, 2), normalised); `[]` for none."""
    comma = _comma(style)
    return "[" + comma.join("[" + comma.join(_lists(polygon, style)) + "]" for polygon in polygons) + "]"


def format_points(points: ArrayLike, *, style: Style = "permille") -> str:
    """`[x,y]` for one point (2,) or (1, 2), `[[x,y],[x,y]]` for several (N, 2), `[]` for none; normalised."""
    return _format_flat(np.asarray(points, np.float64).reshape(-1, 2), style)


def format_box(box: ArrayLike | None, *, style: Style = "permille") -> str:
    """`[x1,y1,x2,y2]` for one box (4,), `[[...],[...]]` for several (N, 4), `[]` for None; normalised xyxy."""
    return _format_flat(np.asarray([] if box is None else box, np.float64).reshape(-1, 4), style)


def _format_flat(rows: NDArray[np.float64], style: Style) -> str:
    lists = list(_lists(rows, style))
    return lists[0] if len(lists) == 1 else "[" + _comma(style).join(lists) + "]"


def _lists(rows: NDArray[np.float64], style: Style) -> Iterable[str]:
    comma = _comma(style)
    # The clip makes the text valid whatever came in; NaN has no text and becomes 0.
    permille = np.rint(np.clip(np.nan_to_num(rows), 0.0, 1.0) * 1000).astype(np.int64).tolist()
    if style == "permille":
        return ["[" + comma.join(map(str, row)) + "]" for row in permille]
    return ["[" + comma.join(str(value / 1000) for value in row) + "]" for row in permille]


def _comma(style: Style) -> str:
    if style not in ("unit", "permille"):
        raise ValueError(f"unknown style {style!r}: choose `unit` or `permille`")
    return "," if style == "permille" else ", "
