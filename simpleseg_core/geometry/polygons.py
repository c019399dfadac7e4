"""From a mask to the polygons that say it best in few points."""

from collections.abc import Iterable

import numpy as np

from simpleseg_core.geometry import _simple
from simpleseg_core.geometry._bridge import bridge
from simpleseg_core.geometry._price import fitted
from simpleseg_core.geometry._shape import STAIRCASE, Holes, Redraw, Rings, Shape, choose_outlines, open_shape
from simpleseg_core.geometry._simple import Points
from simpleseg_core.geometry._thin import thinned
from simpleseg_core.geometry._types import Mask, Polygon, Rle
from simpleseg_core.geometry.order import Order, order_polygons

GRID = 1000
"""Steps of the text along each side of the image: vertices lie where both styles of the grammar can say them."""

# Finer tolerances than this see the staircase of the pixels, and need it.
_COARSE = 0.004
_MOST_OUTLINES = 500
"""Masks of more outlines, or of more corners off their staircase than `_MOST_CORNERS`, are noise: there is nothing to
fit, and every corner is kept."""
_MOST_CORNERS = 10_000


def mask_to_polygons(
    mask: Mask | Rle,
    *,
    tolerance: float = 0.005,
    max_points: int | None = None,
    min_area: float = 0.0,
    holes: Holes = "bridge",
    fit: bool = True,
    order: Order = "clockwise",
    rng: np.random.Generator | None = None,
    grid: int = GRID,
) -> list[Polygon]:
    """Outline a mask with polygons, each (N, 2) of x, y normalised to [0, 1] on pixel edges, N >= 3.

    Clockwise on screen, first vertex nearest the origin, parts in the same order; simple but for the bridges to holes.
    An empty mask gives an empty list. An RLE costs what its outline costs; a dense mask must be read first.

    Args:
        mask: bool (H, W), or a COCO RLE.
        tolerance: how far the outline may stray, relative to its perimeter. With `fit` a vertex stays when it buys
            the area that a chord straying that far would leave out, and 1 - IoU stays under 20 times the tolerance;
            without, it is the tolerance of Douglas and Peucker for each outline. 0 keeps every corner.
        max_points: most vertices in all, at least 3; bridges count. They are spent where they buy most area.
        min_area: parts and holes of fewer pixels are left out.
        holes: bridge them into their outer ring, or fill them.
        fit: move vertices off the outline, to where the polygon fills the mask best.
        order: another order of vertices, for the ablation; `shuffled` needs `rng`.
        grid: steps along each side of the image that vertices are rounded to.

    Raises:
        ValueError: an argument out of range, or an RLE that is none.
    """
    _check(tolerance, max_points, grid)
    shape = open_shape(mask, grid)
    chosen = choose_outlines(shape.outlines, min_area, holes)
    if not chosen:
        return []
    rings = _drawn(shape, chosen, tolerance, max_points, fit)
    return order_polygons([ring / grid for ring in rings], order, rng)


def _check(tolerance: float, max_points: int | None, grid: int) -> None:
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}: it is relative to the perimeter, so give a number in [0, 1)")
    if max_points is not None and max_points < 3:
        raise ValueError(f"max_points is {max_points}: a polygon needs at least 3")
    if grid < 1:
        raise ValueError(f"grid is {grid}: give at least one step, 1000 for the text")


def _drawn(shape: Shape, chosen: list[int], tolerance: float, max_points: int | None, fit: bool) -> list[Points]:
    """One ring for each outer outline among the chosen."""
    if len(chosen) > _MOST_OUTLINES:
        if max_points is None:
            return _every_corner(shape, chosen)
        # Those enclose least that have no chance of a vertex; what encloses another outline encloses more than it.
        chosen = sorted(sorted(chosen, key=shape.area, reverse=True)[:_MOST_OUTLINES])
    steps = STAIRCASE * min(1.0, tolerance / _COARSE)
    contours = {k: shape.contour(k, steps) for k in chosen}
    if max_points is None and tolerance > 0 and sum(len(c.kept) for c in contours.values()) > _MOST_CORNERS:
        return _every_corner(shape, chosen)
    rings, redraw = (fitted if fit else thinned)(shape, contours, tolerance, max_points)
    return _joined(shape, rings, redraw)


def _every_corner(shape: Shape, chosen: Iterable[int]) -> list[Points]:
    rings = {k: shape.exact(k) for k in chosen}
    return [_with_holes(rings[k], [rings[j] for j in within]) for k, within in _families(shape, rings).items()]


def _families(shape: Shape, rings: Rings) -> dict[int, list[int]]:
    """The holes in each outer outline."""
    families: dict[int, list[int]] = {k: [] for k in rings if not shape.is_hole(k)}
    for k in rings:
        if shape.is_hole(k):
            families[int(shape.outlines.parent[k])].append(k)
    return families


def _with_holes(ring: Points, holes: list[Points]) -> Points:
    return bridge(ring, [np.ascontiguousarray(hole[::-1]) for hole in holes]) if holes else ring


def _joined(shape: Shape, rings: Rings, redraw: Redraw | None) -> list[Points]:
    """One ring for each outer outline, its holes bridged.

    Where outlines that lie close meet each other they are drawn again, finer and finer; without `redraw`, which spends
    vertices, holes are left out.
    """
    joined = []
    for k, within in _families(shape, rings).items():
        ring, holes = rings[k], _nested(rings[k], [rings[j] for j in within])
        share = 1.0
        while redraw and len(holes) < len(within) and share > 0.001:
            share /= 8
            ring = redraw(k, share)
            holes = _nested(ring, [redraw(j, share) for j in within])
        if redraw and len(holes) < len(within):
            ring, holes = shape.exact(k), [shape.exact(j) for j in within]
        joined.append(_with_holes(ring, holes))
    return joined


def _nested(ring: Points, holes: list[Points]) -> list[Points]:
    """The holes that lie inside a ring and apart from those before them."""
    nested: list[Points] = []
    for hole in holes:
        apart = all(_simple.rings_apart(hole, other) for other in (ring, *nested))
        if apart and _simple.is_inside(ring, *hole[0]):
            nested.append(hole)
    return nested
