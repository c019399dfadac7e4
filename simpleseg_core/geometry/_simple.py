"""Whether polygons stay simple: exact tests on integer vertices."""

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled

Points = NDArray[np.int64]

_FEW = 500


@compiled
def _turn(ax: int, ay: int, bx: int, by: int, cx: int, cy: int) -> int:
    """Twice the signed area of a triangle."""
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@compiled
def segments_meet(ax: int, ay: int, bx: int, by: int, cx: int, cy: int, dx: int, dy: int) -> bool:
    """Whether the closed segments a-b and c-d share a point."""
    if max(ax, bx) < min(cx, dx) or max(cx, dx) < min(ax, bx):
        return False
    if max(ay, by) < min(cy, dy) or max(cy, dy) < min(ay, by):
        return False
    c, d = _turn(ax, ay, bx, by, cx, cy), _turn(ax, ay, bx, by, dx, dy)
    if (c > 0 and d > 0) or (c < 0 and d < 0):
        return False
    a, b = _turn(cx, cy, dx, dy, ax, ay), _turn(cx, cy, dx, dy, bx, by)
    return not ((a > 0 and b > 0) or (a < 0 and b < 0))


@compiled
def folds_back(ax: int, ay: int, bx: int, by: int, cx: int, cy: int) -> bool:
    """Whether the edges a-b and b-c overlap, or one of them has no length."""
    if _turn(ax, ay, bx, by, cx, cy) != 0:
        return False
    return (bx - ax) * (cx - bx) + (by - ay) * (cy - by) <= 0


@compiled
def is_simple(points: Points) -> bool:
    """Whether a closed polygon (K, 2) neither crosses nor touches itself."""
    k = len(points)
    if k < 3:
        return False
    for i in range(k):
        a, b, c = points[i - 2], points[i - 1], points[i]
        if folds_back(a[0], a[1], b[0], b[1], c[0], c[1]):
            return False
    return _no_edges_meet(points) if k <= _FEW else _no_near_edges_meet(points)


@compiled
def _edges_meet(points: Points, i: int, j: int) -> bool:
    """Whether the edges that end at vertices i and j meet."""
    a, b, c, d = points[i - 1], points[i], points[j - 1], points[j]
    return segments_meet(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1])


@compiled
def _no_edges_meet(points: Points) -> bool:
    for i in range(len(points)):
        for j in range(i + 2, len(points) - (i == 0)):
            if _edges_meet(points, i, j):
                return False
    return True


@compiled
def _no_near_edges_meet(points: Points) -> bool:
    """The same, comparing only edges that share a strip; there are about as many strips as the root of the edges."""
    k = len(points)
    low = points[:, 0].min()
    step = (points[:, 0].max() - low) // int(np.sqrt(k)) + 1
    ends = np.zeros((points[:, 0].max() - low) // step + 2, np.int64)
    for i in range(k):
        first, last = min(points[i - 1, 0], points[i, 0]) - low, max(points[i - 1, 0], points[i, 0]) - low
        ends[first // step + 1 : last // step + 2] += 1
    ends = np.cumsum(ends)
    members = np.empty(ends[-1], np.int64)
    cursor = ends[:-1].copy()
    for i in range(k):
        first, last = min(points[i - 1, 0], points[i, 0]) - low, max(points[i - 1, 0], points[i, 0]) - low
        for strip in range(first // step, last // step + 1):
            for other in members[ends[strip] : cursor[strip]]:
                if other + 1 < i and not (other == 0 and i == k - 1) and _edges_meet(points, other, i):
                    return False
            members[cursor[strip]] = i
            cursor[strip] += 1
    return True


@compiled
def rings_apart(a: Points, b: Points) -> bool:
    """Whether the outlines of two polygons share no point."""
    for i in range(len(a)):
        for j in range(len(b)):
            if segments_meet(
                a[i - 1, 0], a[i - 1, 1], a[i, 0], a[i, 1], b[j - 1, 0], b[j - 1, 1], b[j, 0], b[j, 1]
            ):  # fmt: skip
                return False
    return True


@compiled
def is_inside(polygon: Points, x: int, y: int) -> bool:
    """Whether a point that is not on the outline lies inside a polygon (even-odd)."""
    inside = False
    for i in range(len(polygon)):
        ax, ay, bx, by = polygon[i - 1, 0], polygon[i - 1, 1], polygon[i, 0], polygon[i, 1]
        if (ay > y) != (by > y) and (_turn(ax, ay, bx, by, x, y) > 0) == (by > ay):
            inside = not inside
    return inside


@compiled
def twice_area(points: Points) -> int:
    """Twice the signed area; positive when clockwise on screen."""
    total = 0
    for i in range(len(points)):
        total += points[i - 1, 0] * points[i, 1] - points[i, 0] * points[i - 1, 1]
    return total


@compiled
def edges_cross(points: NDArray[np.float64]) -> bool:
    """Whether two edges of a closed polygon (K, 2) cross in their interiors; touching and overlapping do not count."""
    k = len(points)
    for i in range(k):
        ax, ay, bx, by = points[i - 1, 0], points[i - 1, 1], points[i, 0], points[i, 1]
        for j in range(i + 1, k):
            cx, cy, dx, dy = points[j - 1, 0], points[j - 1, 1], points[j, 0], points[j, 1]
            c = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            d = (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
            a = (dx - cx) * (ay - cy) - (dy - cy) * (ax - cx)
            b = (dx - cx) * (by - cy) - (dy - cy) * (bx - cx)
            if c * d < 0 and a * b < 0:
                return True
    return False
