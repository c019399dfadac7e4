"""From a mask to the polygons that say it best in few points."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import _fit, _runs, _simple, _simplify
from simpleseg_core.geometry._bridge import bridge
from simpleseg_core.geometry._fill import fill
from simpleseg_core.geometry._trace import Outlines, trace
from simpleseg_core.geometry._types import Mask, Polygon, Rle
from simpleseg_core.geometry.order import Order, order_polygons
from simpleseg_core.geometry.raster import polygons_mask_iou
from simpleseg_core.geometry.rle import rle_size, rle_spans

Holes = Literal["bridge", "drop"]
Points = NDArray[np.int64]
Rings = dict[int, Points]
Redraw = Callable[[int, float], Points]

GRID = 1000
"""Steps of the text along each side of the image: vertices lie where both styles of the grammar can say them."""

# A chord that strays from a smooth outline by d leaves out an area that grows as d^1.5. The factor was chosen on every
# other image of coco-tiny, so that tolerance 0.005 costs about half the tokens of the published recipe.
_PRICE = 5.5
# Merging edges by least squares stops early: the last vertices go by their true cost in pixels.
_MERGE_SHARE = 0.5
# Corners nearer than this to a chord, in pixels, are steps of the staircase that a straight edge becomes.
_STAIRCASE = 0.75
_COARSE = 0.004
_REACH = 4.0
_SWEEPS = 1
_MOST_REFINED = 2000
# Above every cost in pixels, below that of a vertex that cannot go.
_ANY_PRICE = 1e18
# The loss of IoU, relative to the tolerance, past which an outline gets more vertices.
_WORST = 20.0


@dataclass(frozen=True, slots=True)
class _Contour:
    """One outline on its way to a polygon: its corners in pixels, prefix moments, and the corners kept so far."""

    index: int
    corners: NDArray[np.int32]
    sums: NDArray[np.float64]
    kept: NDArray[np.int64]
    is_hole: bool


@dataclass(frozen=True, slots=True)
class _Shape:
    """The outlines of a mask and the image they lie in."""

    outlines: Outlines
    height: int
    width: int
    grid: int

    def contour(self, k: int, steps: float) -> _Contour:
        """Outline k without the corners that lie within `steps` pixels of a chord."""
        corners = self.outlines.corners[self.outlines.offsets[k] : self.outlines.offsets[k + 1]]
        kept = _simplify.douglas_peucker(corners, steps)
        return _Contour(k, corners, _simplify.outline_moments(corners), kept, bool(self.outlines.parent[k] >= 0))

    def snap(self, vertices: NDArray[np.float64] | NDArray[np.int32], is_hole: bool) -> Points:
        """Vertices in pixels -> different neighbours on the grid, clockwise."""
        scale = np.array([self.grid / self.width, self.grid / self.height])
        points = np.clip(np.rint(vertices * scale), 0, self.grid).astype(np.int64)
        points = points[(points != np.concatenate([points[-1:], points[:-1]])).any(axis=1)]
        return np.ascontiguousarray(points[::-1]) if is_hole else points

    def area(self, k: int) -> int:
        return int(self.outlines.area[k])


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
    shape = _shape(mask, grid)
    chosen = _chosen(shape.outlines, min_area, holes)
    if not chosen:
        return []
    # Finer tolerances than this see the staircase of the pixels, and need it.
    steps = _STAIRCASE * min(1.0, tolerance / _COARSE)
    contours = {k: shape.contour(k, steps) for k in chosen}
    draw = _fitted if fit else _thinned
    rings, redraw = draw(shape, contours, tolerance, max_points)
    polygons = [polygon / grid for polygon in _joined(shape, contours, rings, redraw)]
    return order_polygons(polygons, order, rng)


def coarsest_polygons(
    mask: Mask | Rle, min_iou: float, *, holes: Holes = "bridge", grid: int = GRID, steps: int = 8
) -> list[Polygon]:
    """The polygons of the coarsest tolerance whose filled area reaches an IoU with the mask, found by bisection.

    Args:
        min_iou: the IoU to reach, in [0, 1]; where the grid is too coarse for it, every corner is kept.
        steps: bisection steps over tolerances from 0.0001 to 0.1, on a logarithmic scale.

    Raises:
        ValueError: `min_iou` out of range.
    """
    if not 0 <= min_iou <= 1:
        raise ValueError(f"min_iou is {min_iou}: an IoU lies in [0, 1]")
    best = mask_to_polygons(mask, tolerance=0.0, holes=holes, grid=grid)
    fine, coarse = np.log(1e-4), np.log(1e-1)
    for _ in range(steps):
        middle = (fine + coarse) / 2
        polygons = mask_to_polygons(mask, tolerance=float(np.exp(middle)), holes=holes, grid=grid)
        if polygons_mask_iou(polygons, mask) >= min_iou:
            best, fine = polygons, middle
        else:
            coarse = middle
    return best


def _check(tolerance: float, max_points: int | None, grid: int) -> None:
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}: it is relative to the perimeter, so give a number in [0, 1)")
    if max_points is not None and max_points < 3:
        raise ValueError(f"max_points is {max_points}: a polygon needs at least 3")
    if grid < 1:
        raise ValueError(f"grid is {grid}: give at least one step, 1000 for the text")


def _shape(mask: Mask | Rle, grid: int) -> _Shape:
    if isinstance(mask, np.ndarray):
        height, width = mask.shape
        return _Shape(trace(*_runs.mask_columns(mask.astype(bool, copy=False))), height, width, grid)
    height, width = rle_size(mask)
    return _Shape(trace(*_runs.spans_to_columns(rle_spans(mask), height, width)), height, width, grid)


def _chosen(outlines: Outlines, min_area: float, holes: Holes) -> list[int]:
    """The outlines to draw: large enough, and their outer ring too."""
    large = outlines.area >= min_area
    outer = outlines.parent < 0
    wanted = large & (outer | large[outlines.parent]) if holes == "bridge" else large & outer
    return [int(k) for k in np.flatnonzero(wanted)]


def _thinned(
    shape: _Shape, contours: dict[int, _Contour], tolerance: float, max_points: int | None
) -> tuple[Rings, Redraw | None]:
    """Rings of the corners that Douglas and Peucker keep, and how to draw one again at a share of the tolerance."""

    def draw(k: int, share: float) -> Points:
        return _corners_kept(shape, contours[k], share * tolerance)

    rings = {k: draw(k, 1.0) for k in contours}
    if max_points is None:
        return rings, draw
    largest = max((k for k in contours if not contours[k].is_hole), key=shape.area)
    while _points(contours, rings) > max_points:
        tolerance = max(1.25 * tolerance, 1e-3)
        rings = {k: draw(k, 1.0) for k in rings if k == largest or shape.area(k) > tolerance * shape.area(largest)}
        rings = {k: ring for k, ring in rings.items() if not contours[k].is_hole or shape.outlines.parent[k] in rings}
        if tolerance > 1:
            return {largest: _box(shape, contours[largest])[:max_points]}, None
    return rings, None


def _corners_kept(shape: _Shape, contour: _Contour, tolerance: float) -> Points:
    """Corners that Douglas and Peucker keep; fewer are left out where the polygon would cross itself."""
    limit = tolerance * _simplify.perimeter(contour.corners, contour.kept)
    while limit > _STAIRCASE / 2:
        points = shape.snap(contour.corners[_simplify.douglas_peucker(contour.corners, limit)], contour.is_hole)
        if _simple.is_simple(points):
            return points
        limit /= 2
    return _exact(shape, contour)


def _exact(shape: _Shape, contour: _Contour) -> Points:
    """Every corner; the box of the outline where the grid is too coarse to tell the corners apart."""
    points = shape.snap(contour.corners, contour.is_hole)
    faithful = max(shape.height, shape.width) <= shape.grid or _simple.is_simple(points)
    return points if faithful and len(points) >= 3 else _box(shape, contour)


def _box(shape: _Shape, contour: _Contour) -> Points:
    """The box of an outline on the grid, at least one step wide and high."""
    scale = np.array([shape.grid / shape.width, shape.grid / shape.height])
    x1, y1 = np.minimum(np.floor(contour.corners.min(axis=0) * scale), shape.grid - 1).astype(np.int64)
    far = np.minimum(np.ceil(contour.corners.max(axis=0) * scale), shape.grid).astype(np.int64)
    x2, y2 = np.maximum(far, (x1 + 1, y1 + 1))
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _fitted(
    shape: _Shape, contours: dict[int, _Contour], tolerance: float, max_points: int | None
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


def _priced(shape: _Shape, contours: dict[int, _Contour], price: float) -> Rings:
    """Rings where a vertex costs `price` pixels; every corner where it costs nothing."""
    if price <= 0:
        return {k: _exact(shape, contour) for k, contour in contours.items()}
    return {k: _ring(shape, contours[k], price, price) for k in _worthwhile(shape, contours, price)}


def _worthwhile(shape: _Shape, contours: dict[int, _Contour], price: float) -> list[int]:
    """Outlines that enclose more than one vertex is worth, the largest in any case; a hole goes with its ring."""
    largest = max((k for k in contours if not contours[k].is_hole), key=shape.area)
    outer = {k for k in contours if not contours[k].is_hole and (k == largest or shape.area(k) >= price)}
    return [k for k in contours if k in outer or (shape.outlines.parent[k] in outer and shape.area(k) >= price)]


def _merged(contour: _Contour, price: float) -> NDArray[np.int64]:
    return _simplify.merge_edges(contour.sums, contour.kept, price, 3)


def _ring(shape: _Shape, contour: _Contour, coarse: float, price: float) -> Points:
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
    return _refined(shape, contour, _exact(shape, contour), price)


def _encloses(shape: _Shape, contour: _Contour, points: Points) -> bool:
    """Whether a polygon is simple, clockwise, and about as large as what the outline encloses."""
    pixels = _simple.twice_area(points) / 2 * shape.width * shape.height / shape.grid**2
    area = shape.area(contour.index)
    return area / 2 < pixels < area * 2 and bool(_simple.is_simple(points))


def _refined(shape: _Shape, contour: _Contour, points: Points, price: float, least: int = 3) -> Points:
    if len(points) > _MOST_REFINED:
        return points
    k, outlines = contour.index, shape.outlines
    frame = _fit.Frame(shape.height, shape.width, shape.grid, int(outlines.left[k]))
    starts = outlines.starts[outlines.base[k] : outlines.base[k + 1] + 1]
    return _fit.refine(starts, outlines.rows, frame, points, price, least, _SWEEPS)


def _affordable(shape: _Shape, contours: dict[int, _Contour], price: float, max_points: int) -> float:
    """A price at which merging alone leaves not many more vertices than allowed."""
    price = max(price, 1.0)
    while True:
        worthwhile = _worthwhile(shape, contours, price)
        points = sum(len(_merged(contours[k], _MERGE_SHARE * price)) + 2 * contours[k].is_hole for k in worthwhile)
        if points <= max(1.5 * max_points, 3):
            return price
        price *= 1.5


def _capped(shape: _Shape, contours: dict[int, _Contour], price: float, max_points: int) -> Rings:
    """Rings of at most `max_points` in all: the price of a vertex rises until that is so."""
    coarse = _affordable(shape, contours, price, max_points)
    rings = {k: _ring(shape, contours[k], coarse, price) for k in _worthwhile(shape, contours, coarse)}
    largest = max((k for k in rings if not contours[k].is_hole), key=shape.area)
    price = max(price, 1.0)
    while len(rings) > 1 and _points(contours, rings) > max_points:
        price *= 1.2
        rings = _cheaper(shape, contours, rings, price, max_points, largest)
    if len(rings[largest]) > max_points:
        rings = {largest: _refined(shape, contours[largest], rings[largest], _ANY_PRICE, max_points)}
    return rings if _points(contours, rings) <= max_points else {largest: _box(shape, contours[largest])[:max_points]}


def _cheaper(
    shape: _Shape, contours: dict[int, _Contour], rings: Rings, price: float, max_points: int, largest: int
) -> Rings:
    """The rings at a higher price: the smallest first, they lose vertices or go, until the rest is few enough."""
    for k in sorted(rings, key=shape.area):
        excess = _points(contours, rings) - max_points
        if k not in rings or excess <= 0:
            continue
        if k != largest and shape.area(k) < price * (len(rings[k]) + 2 * contours[k].is_hole):
            rings = {j: ring for j, ring in rings.items() if j != k and shape.outlines.parent[j] != k}
        else:
            least = max(3, len(rings[k]) - excess)
            rings = rings | {k: _refined(shape, contours[k], rings[k], price, least)}
    return rings


def _points(contours: dict[int, _Contour], rings: Rings) -> int:
    """Vertices of all rings; a bridge repeats two."""
    return sum(len(ring) + 2 * contours[k].is_hole for k, ring in rings.items())


def _joined(shape: _Shape, contours: dict[int, _Contour], rings: Rings, redraw: Redraw | None) -> list[Points]:
    """One ring for each outer outline, its holes bridged.

    Where outlines that lie close meet each other they are drawn again, finer and finer; without `redraw`, which spends
    vertices, holes are left out.
    """
    joined = []
    for k in (k for k in rings if not contours[k].is_hole):
        within = [j for j in rings if shape.outlines.parent[j] == k]
        ring, holes = rings[k], _nested(rings[k], [rings[j] for j in within])
        share = 1.0
        while redraw and len(holes) < len(within) and share > 0.001:
            share /= 8
            ring = redraw(k, share)
            holes = _nested(ring, [redraw(j, share) for j in within])
        if redraw and len(holes) < len(within):
            ring, holes = _exact(shape, contours[k]), [_exact(shape, contours[j]) for j in within]
        joined.append(bridge(ring, [np.ascontiguousarray(hole[::-1]) for hole in holes]) if holes else ring)
    return joined


def _nested(ring: Points, holes: list[Points]) -> list[Points]:
    """The holes that lie inside a ring and apart from those before them."""
    nested: list[Points] = []
    for hole in holes:
        apart = all(_simple.rings_apart(hole, other) for other in (ring, *nested))
        if apart and _simple.is_inside(ring, *hole[0]):
            nested.append(hole)
    return nested


def _loss(shape: _Shape, contours: dict[int, _Contour], rings: Rings) -> float:
    """1 - IoU of fitted rings with the outlines that were to be drawn, part by part."""
    wrong = total = 0
    for k in contours:
        signed = shape.area(k) * (1 if shape.outlines.parent[k] < 0 else -1)
        total += signed
        wrong += shape.area(k) if k not in rings else _wrong(shape, k, rings[k])
    return wrong / max(total, 1)


def _wrong(shape: _Shape, k: int, ring: Points) -> int:
    """Pixels in which a filled ring differs from what outline k encloses."""
    outlines, filled = shape.outlines, fill(ring / shape.grid, shape.height, shape.width)
    starts = outlines.starts[outlines.base[k] : outlines.base[k + 1] + 1]
    spans = _runs.columns_to_spans(starts, outlines.rows, shape.height) + outlines.left[k] * shape.height
    return _runs.spans_area(filled) + shape.area(k) - 2 * _runs.spans_intersection(filled, spans)
