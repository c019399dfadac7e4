"""Polygons of an outline's own corners: Douglas and Peucker, for the ablation and for those who want no fitting."""

from simpleseg_core.geometry import _simple, _simplify
from simpleseg_core.geometry._shape import STAIRCASE, Contour, Redraw, Rings, Shape
from simpleseg_core.geometry._simple import Points


def thinned(
    shape: Shape, contours: dict[int, Contour], tolerance: float, max_points: int | None
) -> tuple[Rings, Redraw | None]:
    """Rings of the corners that Douglas and Peucker keep, and how to draw one again at a share of the tolerance."""

    def draw(k: int, share: float) -> Points:
        return _corners_kept(shape, contours[k], share * tolerance)

    rings = {k: draw(k, 1.0) for k in contours}
    if max_points is None:
        return rings, draw
    largest = shape.largest(contours)
    while shape.count_points(rings) > max_points:
        tolerance = max(1.25 * tolerance, 1e-3)
        rings = {k: draw(k, 1.0) for k in rings if k == largest or shape.area(k) > tolerance * shape.area(largest)}
        rings = {k: ring for k, ring in rings.items() if not contours[k].is_hole or shape.outlines.parent[k] in rings}
        if tolerance > 1:
            return {largest: shape.box(largest)[:max_points]}, None
    return rings, None


def _corners_kept(shape: Shape, contour: Contour, tolerance: float) -> Points:
    """Corners that Douglas and Peucker keep; fewer are left out where the polygon would cross itself."""
    limit = tolerance * _simplify.perimeter(contour.corners, contour.kept)
    while limit > STAIRCASE / 2:
        points = shape.snap(contour.corners[_simplify.douglas_peucker(contour.corners, limit)], contour.is_hole)
        if _simple.is_simple(points):
            return points
        limit /= 2
    return shape.exact(contour.index)
