"""Choosing vertices: from the corners of an outline to the few straight edges that follow it best in the least squares.

Merging is bottom-up over edges of the outline; the squared distance of a stretch of outline to its best line comes from
prefix sums, so that each candidate costs the same however long it is.
"""

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled

Corners = NDArray[np.int32]

_LOOKS, _LOOKS_PER_CORNER = 10_000_000, 200


@compiled
def _chord_distance(corners: Corners, i: int, a: int, b: int) -> float:
    """Squared distance of corner i to the segment between corners a and b."""
    ax, ay = float(corners[a, 0]), float(corners[a, 1])
    dx, dy = corners[b, 0] - ax, corners[b, 1] - ay
    px, py = corners[i, 0] - ax, corners[i, 1] - ay
    length = dx * dx + dy * dy
    along = min(max((px * dx + py * dy) / length, 0.0), 1.0) if length > 0 else 0.0
    ex, ey = px - along * dx, py - along * dy
    squared: float = ex * ex + ey * ey
    return squared


@compiled
def _farthest(corners: Corners, origin: int) -> int:
    """The corner farthest from corner `origin`."""
    best, found = -1.0, origin
    for i in range(len(corners)):
        distance = _chord_distance(corners, i, origin, origin)
        if distance > best:
            best, found = distance, i
    return found


@compiled
def douglas_peucker(corners: Corners, tolerance: float) -> NDArray[np.int64]:
    """Indices of the corners of a closed outline that Ramer, Douglas and Peucker keep; `tolerance` in pixels.

    An outline such as a comb's, of which they would keep most and look at each over and over, keeps every corner.
    """
    n = len(corners)
    looks = _LOOKS + _LOOKS_PER_CORNER * n
    if tolerance <= 0:
        return np.arange(n)
    keep = np.zeros(n, np.bool_)
    a = _farthest(corners, 0)
    b = _farthest(corners, a)
    a, b = min(a, b), max(a, b)
    keep[a] = keep[b] = True
    stack = np.empty((n + 2, 2), np.int64)
    stack[0] = (a, b)
    stack[1] = (b, a + n)
    depth = 2
    while depth:
        depth -= 1
        a, b = stack[depth]
        best, split = tolerance * tolerance, -1
        looks -= b - a
        if looks < 0:
            return np.arange(n)
        for i in range(a + 1, b):
            distance = _chord_distance(corners, i % n, a % n, b % n)
            if distance > best:
                best, split = distance, i
        if split >= 0:
            keep[split % n] = True
            stack[depth] = (a, split)
            stack[depth + 1] = (split, b)
            depth += 2
    return np.flatnonzero(keep)


@compiled
def perimeter(corners: Corners, kept: NDArray[np.int64]) -> float:
    """Length of the polygon through some corners, in pixels."""
    total = 0.0
    for i in range(len(kept)):
        total += np.sqrt(_chord_distance(corners, kept[i], kept[i - 1], kept[i - 1]))
    return total


@compiled
def outline_moments(corners: Corners) -> NDArray[np.float64]:
    """Prefix sums (2N + 1, 6) of the integrals of 1, x, y, xx, xy, yy along an outline walked twice."""
    n = len(corners)
    sums = np.zeros((2 * n + 1, 6))
    for i in range(2 * n):
        a, b = corners[i % n], corners[(i + 1) % n]
        dx, dy = float(b[0] - a[0]), float(b[1] - a[1])
        length = abs(dx) + abs(dy)
        x = (a[0] + b[0]) / 2 - corners[0, 0]
        y = (a[1] + b[1]) / 2 - corners[0, 1]
        sums[i + 1, 0] = sums[i, 0] + length
        sums[i + 1, 1] = sums[i, 1] + length * x
        sums[i + 1, 2] = sums[i, 2] + length * y
        sums[i + 1, 3] = sums[i, 3] + length * (x * x + dx * dx / 12)
        sums[i + 1, 4] = sums[i, 4] + length * x * y
        sums[i + 1, 5] = sums[i, 5] + length * (y * y + dy * dy / 12)
    return sums


@compiled
def _best_line(sums: NDArray[np.float64], a: int, b: int) -> tuple[float, float, float, float, float]:
    """Centre, direction and stray of the stretch of outline from corner a to corner b, a < b.

    The stray is the length of the stretch times its root mean square distance to the line: an area.
    """
    length = sums[b, 0] - sums[a, 0]
    x = (sums[b, 1] - sums[a, 1]) / length
    y = (sums[b, 2] - sums[a, 2]) / length
    xx = (sums[b, 3] - sums[a, 3]) / length - x * x
    xy = (sums[b, 4] - sums[a, 4]) / length - x * y
    yy = (sums[b, 5] - sums[a, 5]) / length - y * y
    half = np.sqrt((xx - yy) ** 2 / 4 + xy * xy)
    across = max((xx + yy) / 2 - half, 0.0)
    # The larger eigenvalue's vector, taken from the row that does not vanish.
    ux, uy = (xx - yy) / 2 + half, xy
    if xx < yy:
        ux, uy = xy, (yy - xx) / 2 + half
    norm = np.sqrt(ux * ux + uy * uy)
    if norm > 0:
        ux, uy = ux / norm, uy / norm
    return x, y, ux, uy, length * np.sqrt(across)


@compiled
def _stray(sums: NDArray[np.float64], kept: NDArray[np.int64], a: int, b: int) -> float:
    """The stray of the outline from the a-th to the b-th kept corner."""
    n = len(sums) // 2
    first, last = kept[a], kept[b]
    return _best_line(sums, first, last if last > first else last + n)[4]


@compiled
def merge_edges(sums: NDArray[np.float64], kept: NDArray[np.int64], limit: float, least: int) -> NDArray[np.int64]:
    """Leave out kept corners while the stray grows by at most `limit` each, cheapest first, down to `least` corners."""
    k = len(kept)
    before = np.arange(k) - 1
    before[0] = k - 1
    after = np.arange(k) + 1
    after[k - 1] = 0
    stray = np.empty(k)
    for i in range(k):
        stray[i] = _stray(sums, kept, i, after[i])
    cost = np.empty(k)
    for i in range(k):
        cost[i] = _stray(sums, kept, before[i], after[i]) - stray[before[i]] - stray[i]
    left = k
    for fraction in (0.02, 0.1, 0.3, 0.6, 1.0):
        removed = True
        while removed and left > least:
            removed = False
            for i in range(k):
                if left <= least or cost[i] > limit * fraction:
                    continue
                a, b = before[i], after[i]
                if cost[a] < cost[i] or cost[b] < cost[i]:
                    continue
                after[a], before[b] = b, a
                stray[a] = _stray(sums, kept, a, b)
                cost[i] = np.inf
                cost[a] = _stray(sums, kept, before[a], b) - stray[before[a]] - stray[a]
                cost[b] = _stray(sums, kept, a, after[b]) - stray[a] - stray[b]
                left -= 1
                removed = True
    return kept[cost < np.inf]


@compiled
def meet_lines(
    corners: Corners, sums: NDArray[np.float64], kept: NDArray[np.int64], reach: float
) -> NDArray[np.float64]:
    """Vertices (K, 2) in pixels where the best lines of neighbouring stretches meet; the kept corner itself where that
    lies farther from it than `reach`."""
    k, n = len(kept), len(corners)
    vertices = np.empty((k, 2))
    for i in range(k):
        a, b, c = kept[i - 1], kept[i], kept[(i + 1) % k]
        x1, y1, ux, uy, _ = _best_line(sums, a, b if b > a else b + n)
        x2, y2, vx, vy, _ = _best_line(sums, b, c if c > b else c + n)
        sine = ux * vy - uy * vx
        vertices[i] = corners[b]
        if abs(sine) > 0.1:
            along = ((x2 - x1) * vy - (y2 - y1) * vx) / sine
            x = x1 + along * ux + corners[0, 0]
            y = y1 + along * uy + corners[0, 1]
            if (x - corners[b, 0]) ** 2 + (y - corners[b, 1]) ** 2 <= reach * reach:
                vertices[i, 0] = x
                vertices[i, 1] = y
    return vertices
