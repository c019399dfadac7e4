"""Orientation and order of polygons: one canonical order, and the alternatives that the ablation compares."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._types import Polygon

Order = Literal["clockwise", "counter_clockwise", "shuffled", "by_x"]


def signed_area(polygon: NDArray[np.float64]) -> float:
    """Area by the shoelace formula, in squared units of the vertices; positive when clockwise on screen (y down)."""
    if not len(polygon):
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1]) / 2


def order_polygon(polygon: Polygon, order: Order = "clockwise", rng: np.random.Generator | None = None) -> Polygon:
    """The same vertices (N, 2) in another order.

    `clockwise` (on screen) and `counter_clockwise` keep the ring and start at the vertex nearest the origin; `by_x`
    sorts by x, then y; `shuffled` draws a permutation and needs `rng`.
    """
    if order == "shuffled":
        if rng is None:
            raise ValueError("order `shuffled` needs a random generator: pass rng=np.random.default_rng(seed)")
        return polygon[rng.permutation(len(polygon))]
    if order == "by_x":
        leftmost_first: Polygon = polygon[np.lexsort((polygon[:, 1], polygon[:, 0]))]
        return leftmost_first
    turned = polygon if (signed_area(polygon) >= 0) == (order == "clockwise") else polygon[::-1]
    start = _nearest_origin(turned)
    return np.concatenate([turned[start:], turned[:start]])


def order_polygons(
    polygons: Sequence[Polygon], order: Order = "clockwise", rng: np.random.Generator | None = None
) -> list[Polygon]:
    """Each polygon in the given order, and the polygons by their vertex nearest the origin."""
    ordered = [order_polygon(polygon, order, rng) for polygon in polygons]
    if len(ordered) < 2:
        return ordered
    return sorted(ordered, key=lambda polygon: _closeness(polygon[_nearest_origin(polygon)]))


def _closeness(point: NDArray[np.float64]) -> tuple[float, float]:
    return float(point @ point), float(point[1])


def _nearest_origin(polygon: NDArray[np.float64]) -> int:
    """Index of the vertex nearest the origin; the upper one of two, and the first of a bridge's equal ones."""
    distance = np.einsum("ij,ij->i", polygon, polygon)
    nearest = np.flatnonzero(distance == distance.min())
    return int(nearest[np.argmin(polygon[nearest, 1])])
