"""Outlines along pixel edges, linked from column runs in one pass."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def _link(starts: NDArray[np.int64], rows: NDArray[np.int32]) -> NDArray[np.int64]:  # pragma: no cover
    """The edge that follows each edge. Edge i is the horizontal unit edge of transition i: an even one enters and runs
    right, an odd one leaves and runs left, so that the inside lies on the right hand and outer outlines turn clockwise
    on screen. On the line between two columns what does not continue straight is joined in pairs by vertical edges.
    Pixels that touch at a corner are linked (8-connectivity)."""
    width = len(starts) - 1
    following = np.full(len(rows), -1, np.int64)
    pending = -1
    pending_is_source = False
    for line in range(width + 1):
        a = starts[line - 1] if line > 0 else 0
        a_end = starts[line] if line > 0 else 0
        b = starts[line] if line < width else 0
        b_end = starts[line + 1] if line < width else 0
        a_first, b_first = a, b
        while a < a_end or b < b_end:
            take_a = b >= b_end
            if a < a_end and b < b_end:
                a_enters = (a - a_first) % 2 == 0
                b_enters = (b - b_first) % 2 == 0
                if rows[a] == rows[b] and a_enters == b_enters:
                    if a_enters:
                        following[a] = b
                    else:
                        following[b] = a
                    a += 1
                    b += 1
                    continue
                # At a corner shared by two pixels the one that enters closes the vertical edge above it.
                take_a = rows[a] < rows[b] or (rows[a] == rows[b] and a_enters)
            if take_a:
                edge = a
                is_source = (a - a_first) % 2 == 0
                a += 1
            else:
                edge = b
                is_source = (b - b_first) % 2 == 1
                b += 1
            if pending < 0:
                pending = edge
                pending_is_source = is_source
            else:
                if pending_is_source:
                    following[pending] = edge
                else:
                    following[edge] = pending
                pending = -1
    return following


@njit(cache=True, nogil=True)
def trace(
    starts: NDArray[np.int64], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:  # pragma: no cover
    """Corners (K, 2) of all closed outlines in pixels and the offset at which each outline starts (L + 1).

    Outer outlines turn clockwise on screen, holes counter-clockwise.
    """
    following = _link(starts, rows)
    count = len(rows)
    column = np.empty(count, np.int32)
    for x in range(len(starts) - 1):
        column[starts[x] : starts[x + 1]] = x
    corners = np.empty((2 * count, 2), np.int32)
    offsets = np.empty(count + 1, np.int64)
    offsets[0] = 0
    n = 0
    loops = 0
    for first in range(count):
        if following[first] < 0:
            continue
        edge = first
        while following[edge] >= 0:
            after = following[edge]
            following[edge] = -1
            runs_right = (edge - starts[column[edge]]) % 2 == 0
            if rows[after] != rows[edge]:
                x = column[edge] + 1 if runs_right else column[edge]
                corners[n, 0] = x
                corners[n, 1] = rows[edge]
                corners[n + 1, 0] = x
                corners[n + 1, 1] = rows[after]
                n += 2
            edge = after
        loops += 1
        offsets[loops] = n
    return corners[:n].copy(), offsets[: loops + 1].copy()
