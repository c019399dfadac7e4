"""Fitting a polygon to the pixels of a shape: vertices move on the grid, or go, by what that does to the fill.

By Green's theorem in its discrete form, the pixels that a polygon gets right are a sum over its edges: one that runs
left counts, in each column it crosses, the pixels above it that are inside the shape minus those that are not; one that
runs right counts them negatively. So a move of one vertex costs two edges, whatever the size of the polygon.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled
from simpleseg_core.geometry._fill import columns_crossed, crossing_rows, to_fifths
from simpleseg_core.geometry._runs import Rows, Starts
from simpleseg_core.geometry._simple import Points, folds_back, segments_meet


class Frame(NamedTuple):
    """Sizes of the image in pixels, steps of the grid along each side, and the first column of the shape."""

    height: int
    width: int
    grid: int
    left: int


# A ring is an array (K, 4) of vertices: x, y, and the indices of the vertices before and after.
Ring = NDArray[np.int64]
_X, _Y, _BEFORE, _AFTER = 0, 1, 2, 3


@compiled
def _edge_score(starts: Starts, rows: Rows, frame: Frame, crossed: Rows, ax: int, ay: int, bx: int, by: int) -> int:
    """What the edge a-b adds to the pixels right minus the pixels wrong inside a clockwise polygon.

    The shape is given by its own columns, from column `frame.left` on; `crossed` is scratch space, one row a column.
    """
    left, right = to_fifths(ax / frame.grid, frame.width), to_fifths(bx / frame.grid, frame.width)
    first, last = columns_crossed(left, right, frame.width)
    if first == last:
        return 0
    top, bottom = to_fifths(ay / frame.grid, frame.height), to_fifths(by / frame.grid, frame.height)
    crossing_rows(left, top, right, bottom, first, last, frame.height, crossed)
    score = 0
    for k in range(last - first):
        score -= crossed[k]
    for column in range(max(first, frame.left), min(last, frame.left + len(starts) - 1)):
        row = crossed[column - first]
        i, end = starts[column - frame.left], starts[column - frame.left + 1]
        while i < end and rows[i] < row:
            score += 2 * (min(row, rows[i + 1]) - rows[i])
            i += 2
    return score if bx < ax else -score


@compiled
def _vertex_score(starts: Starts, rows: Rows, frame: Frame, crossed: Rows, ring: Ring, i: int, x: int, y: int) -> int:
    """What the two edges at vertex i add, were it at (x, y)."""
    a, b = ring[i, _BEFORE], ring[i, _AFTER]
    before = _edge_score(starts, rows, frame, crossed, ring[a, _X], ring[a, _Y], x, y)
    return before + _edge_score(starts, rows, frame, crossed, x, y, ring[b, _X], ring[b, _Y])


@compiled
def _removal_cost(starts: Starts, rows: Rows, frame: Frame, crossed: Rows, ring: Ring, i: int) -> int:
    """Pixels lost by leaving vertex i out."""
    a, b = ring[i, _BEFORE], ring[i, _AFTER]
    without = _edge_score(starts, rows, frame, crossed, ring[a, _X], ring[a, _Y], ring[b, _X], ring[b, _Y])
    return _vertex_score(starts, rows, frame, crossed, ring, i, ring[i, _X], ring[i, _Y]) - without


@compiled
def _stays_simple(ring: Ring, i: int, x: int, y: int) -> bool:
    """Whether the ring is still simple and clockwise with vertex i at (x, y)."""
    a, b = ring[i, _BEFORE], ring[i, _AFTER]
    ax, ay, bx, by = ring[a, _X], ring[a, _Y], ring[b, _X], ring[b, _Y]
    if folds_back(ax, ay, x, y, bx, by):
        return False
    twice_area = ax * y - x * ay + x * by - bx * y
    j = b
    while j != a:
        k = ring[j, _AFTER]
        cx, cy, dx, dy = ring[j, _X], ring[j, _Y], ring[k, _X], ring[k, _Y]
        if j == b:
            if folds_back(x, y, bx, by, dx, dy):
                return False
        elif segments_meet(x, y, bx, by, cx, cy, dx, dy):
            return False
        if k == a:
            if folds_back(cx, cy, ax, ay, x, y):
                return False
        elif segments_meet(ax, ay, x, y, cx, cy, dx, dy):
            return False
        twice_area += cx * dy - dx * cy
        j = k
    return bool(twice_area > 0)


@compiled
def _can_go(ring: Ring, i: int) -> bool:
    """Whether the ring is still simple and clockwise without vertex i."""
    a, b = ring[i, _BEFORE], ring[i, _AFTER]
    ax, ay, bx, by = ring[a, _X], ring[a, _Y], ring[b, _X], ring[b, _Y]
    twice_area = ax * by - bx * ay
    j = b
    while j != a:
        k = ring[j, _AFTER]
        cx, cy, dx, dy = ring[j, _X], ring[j, _Y], ring[k, _X], ring[k, _Y]
        if j == b and folds_back(ax, ay, bx, by, dx, dy):
            return False
        if k == a and folds_back(cx, cy, ax, ay, bx, by):
            return False
        if j != b and k != a and segments_meet(ax, ay, bx, by, cx, cy, dx, dy):
            return False
        twice_area += cx * dy - dx * cy
        j = k
    return bool(twice_area > 0)


@compiled
def _settle(starts: Starts, rows: Rows, frame: Frame, crossed: Rows, ring: Ring, i: int, step: int) -> bool:
    """Move vertex i uphill, among its eight neighbours `step` grid steps away, then half as far; whether it moved."""
    best = _vertex_score(starts, rows, frame, crossed, ring, i, ring[i, _X], ring[i, _Y])
    moved = False
    while step > 0:
        x0, y0 = ring[i, _X], ring[i, _Y]
        for neighbour in range(9):
            x, y = x0 + (neighbour % 3 - 1) * step, y0 + (neighbour // 3 - 1) * step
            if neighbour == 4 or min(x, y) < 0 or max(x, y) > frame.grid:
                continue
            score = _vertex_score(starts, rows, frame, crossed, ring, i, x, y)
            if score > best and _stays_simple(ring, i, x, y):
                best = score
                ring[i, _X], ring[i, _Y] = x, y
        if ring[i, _X] == x0 and ring[i, _Y] == y0:
            step //= 2
        else:
            moved = True
    return moved


@compiled
def _linked(points: Points) -> Ring:
    """A ring of points (K, 2)."""
    k = len(points)
    ring = np.empty((k, 4), np.int64)
    for i in range(k):
        ring[i, _X], ring[i, _Y] = points[i]
        ring[i, _BEFORE] = i - 1 if i > 0 else k - 1
        ring[i, _AFTER] = i + 1 if i < k - 1 else 0
    return ring


@compiled
def refine(starts: Starts, rows: Rows, frame: Frame, points: Points, limit: float, least: int, sweeps: int) -> Points:
    """Fit a simple clockwise polygon (K, 2) on the grid to a shape given by its columns.

    Vertices whose loss costs at most `limit` pixels go, cheapest first, down to `least`, and their neighbours settle;
    then all settle, at most `sweeps` times.
    """
    ring = _linked(points)
    k = left = len(points)
    crossed = np.empty(frame.width, np.int32)
    cost = np.empty(k)
    for i in range(k):
        cost[i] = _removal_cost(starts, rows, frame, crossed, ring, i)
    kept = np.ones(k, np.bool_)
    while left > max(least, 3):
        i = int(np.argmin(cost))
        if cost[i] > limit:
            break
        cost[i] = np.inf
        if not _can_go(ring, i):
            continue
        kept[i] = False
        left -= 1
        a, b = ring[i, _BEFORE], ring[i, _AFTER]
        ring[a, _AFTER], ring[b, _BEFORE] = b, a
        for j in (a, b, a):
            _settle(starts, rows, frame, crossed, ring, j, 1)
        for j in (ring[a, _BEFORE], a, b, ring[b, _AFTER]):
            cost[j] = _removal_cost(starts, rows, frame, crossed, ring, j)
    for _ in range(sweeps):
        moved = False
        for i in range(k):
            if kept[i]:
                moved |= _settle(starts, rows, frame, crossed, ring, i, 2)
        if not moved:
            break
    return ring[kept, :2]
