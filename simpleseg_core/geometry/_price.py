"""Fitted polygons: a vertex has a price in pixels, and stays when it buys as much."""

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import _fit, _runs, _simple, _simplify, _spans
from simpleseg_core.geometry._fill import fill
from simpleseg_core.geometry._shape import Contour, Redraw, Rings, Shape
from simpleseg_core.geometry._simple import Points

# A chord that strays from a smooth outline by d leaves out an area that grows as d^1.5. The factor was chosen on every
# other image of coco-tiny, so that tolerance 0.005 costs about half the tokens of the published recipe.
_PRICE = 5.5
# Merging edges by least squares stops early: the last vertices go by their true cost in pixels.
_MERGE_SHARE = 0.5
_REACH = 4.0
_SWEEPS = 1
_MOST_REFINED = 2000
# Above every cost in pixels, below that of a vertex that cannot go.
_ANY_PRICE = 1e18
# The loss of IoU, relative to the tolerance, past which an outline gets more vertices.
_WORST = 20.0


def fitted(
    shape: Shape, contours: dict[int, Contour], tolerance: float, max_points: int | None
) -> tuple[Rings, Redraw | None]:
    """Fitted rings of the outlines that are worth their vertices, and how to draw one again at a share of the price."""
    length = max(_simplify.perimeter(contour.corners, contour.kept) for contour in contours.values())
    price = _PRICE * (tolerance * length) ** 1.5
    if max_points is not None:
        return _capped(shape, contours, price, max_points), None
    rings = _priced(shape, contours, price)
    while price > 0 and _loss(shape, contours, rings) > _WORST * tolerance:
        # What looks long and thin to the tolerance, such as noise, gets the vertices that it needs after all.
        price = price / 4 if price > 1e-3 else 0.0
        rings = _priced(shape, contours, price)
    return rings, lambda k, share: _ring(shape, contours[k], share * price, share * price)


def _priced(shape: Shape, contours: dict[int, Contour], price: float) -> Rings:
    """Rings where a vertex costs `price` pixels; every corner where it costs nothing."""
    if price <= 0:
        return {k: shape.exact(contour.index) for k, contour in contours.items()}
    return {k: _ring(shape, contours[k], price, price) for k in _worthwhile(shape, contours, price)}


def _worthwhile(shape: Shape, contours: dict[int, Contour], price: float) -> list[int]:
    """Outlines that enclose more than one vertex is worth, the largest in any case; a hole goes with its ring."""
    largest = shape.largest(contours)
    outer = {k for k in contours if not contours[k].is_hole and (k == largest or shape.area(k) >= price)}
    return [k for k in contours if k in outer or (shape.outlines.parent[k] in outer and shape.area(k) >= price)]


def _merged(contour: Contour, price: float) -> NDArray[np.int64]:
    return _simplify.merge_edges(contour.sums, contour.kept, price, 3)


def _ring(shape: Shape, contour: Contour, coarse: float, price: float) -> Points:
    """The polygon of one outline: edges merged at the price `coarse`, less where they would cross, then fitted."""
    share = _MERGE_SHARE
    while coarse > 0 and share > 0.005:
        kept = _merged(contour, share * coarse)
        for vertices in (
            _simplify.meet_lines(contour.corners, contour.sums, kept, _REACH),
            contour.corners[kept].astype(np.float64),
        ):
            points = shape.snap(vertices, contour.is_hole)
            if _encloses(shape, contour, points):
                return _refined(shape, contour, points, price)
        share /= 4
    return _refined(shape, contour, shape.exact(contour.index), price)


def _encloses(shape: Shape, contour: Contour, points: Points) -> bool:
    """Whether a polygon is simple, clockwise, and about as large as what the outline encloses."""
    pixels = _simple.twice_area(points) / 2 * shape.width * shape.height / shape.grid**2
    area = shape.area(contour.index)
    return area / 2 < pixels < area * 2 and bool(_simple.is_simple(points))


def _refined(shape: Shape, contour: Contour, points: Points, price: float, least: int = 3) -> Points:
    if len(points) > _MOST_REFINED:
        return points
    k, outlines = contour.index, shape.outlines
    frame = _fit.Frame(shape.height, shape.width, shape.grid, int(outlines.left[k]))
    starts = outlines.starts[outlines.base[k] : outlines.base[k + 1] + 1]
    return _fit.refine(starts, outlines.rows, frame, points, price, least, _SWEEPS)


def _affordable(shape: Shape, contours: dict[int, Contour], price: float, max_points: int) -> float:
    """A price at which merging alone leaves not many more vertices than allowed."""
    price = max(price, 1.0)
    while True:
        worthwhile = _worthwhile(shape, contours, price)
        points = sum(len(_merged(contours[k], _MERGE_SHARE * price)) + 2 * contours[k].is_hole for k in worthwhile)
        if points <= max(1.5 * max_points, 3):
            return price
        price *= 1.5


def _capped(shape: Shape, contours: dict[int, Contour], price: float, max_points: int) -> Rings:
    """Rings of at most `max_points` in all: the price of a vertex rises until that is so."""
    coarse = _affordable(shape, contours, price, max_points)
    rings = {k: _ring(shape, contours[k], coarse, price) for k in _worthwhile(shape, contours, coarse)}
    largest = shape.largest(rings)
    price = max(price, 1.0)
    while len(rings) > 1 and shape.count_points(rings) > max_points:
        price *= 1.2
        rings = _cheaper(shape, contours, rings, price, max_points, largest)
    if len(rings[largest]) > max_points:
        rings = {largest: _refined(shape, contours[largest], rings[largest], _ANY_PRICE, max_points)}
    return rings if shape.count_points(rings) <= max_points else {largest: shape.box(largest)[:max_points]}


def _cheaper(
    shape: Shape, contours: dict[int, Contour], rings: Rings, price: float, max_points: int, largest: int
) -> Rings:
    """The rings at a higher price: the smallest first, they lose vertices or go, until the rest is few enough."""
    for k in sorted(rings, key=shape.area):
        excess = shape.count_points(rings) - max_points
        if k not in rings or excess <= 0:
            continue
        if k != largest and shape.area(k) < price * (len(rings[k]) + 2 * contours[k].is_hole):
            rings = {j: ring for j, ring in rings.items() if j != k and shape.outlines.parent[j] != k}
        else:
            least = max(3, len(rings[k]) - excess)
            rings = rings | {k: _refined(shape, contours[k], rings[k], price, least)}
    return rings


def _loss(shape: Shape, contours: dict[int, Contour], rings: Rings) -> float:
    """1 - IoU of fitted rings with the outlines that were to be drawn, part by part."""
    wrong = total = 0
    for k in contours:
        signed = shape.area(k) * (1 if shape.outlines.parent[k] < 0 else -1)
        total += signed
        wrong += shape.area(k) if k not in rings else _wrong(shape, k, rings[k])
    return wrong / max(total, 1)


def _wrong(shape: Shape, k: int, ring: Points) -> int:
    """Pixels in which a filled ring differs from what outline k encloses."""
    outlines, filled = shape.outlines, fill(ring / shape.grid, shape.height, shape.width)
    starts = outlines.starts[outlines.base[k] : outlines.base[k + 1] + 1]
    spans = _runs.columns_to_spans(starts, outlines.rows, shape.height) + outlines.left[k] * shape.height
    return _spans.spans_area(filled) + shape.area(k) - 2 * _spans.spans_intersection(filled, spans)
