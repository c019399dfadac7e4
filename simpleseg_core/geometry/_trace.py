"""Outlines along pixel edges, linked from column runs in one pass, each with the columns of the shape it encloses."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled
from simpleseg_core.geometry._runs import Rows, Starts


class Outlines(NamedTuple):
    """All closed outlines of a mask; outline k owns `corners[offsets[k]:offsets[k + 1]]`, in pixels.

    Outer outlines turn clockwise on screen and have `parent` -1; holes turn counter-clockwise and name the outline that
    they lie in. `area` is what an outline encloses, holes included. What outline k encloses begins at column `left[k]`
    and has the columns `starts[base[k] : base[k + 1] + 1]` into `rows`.
    """

    corners: NDArray[np.int32]
    offsets: NDArray[np.int64]
    parent: NDArray[np.int64]
    area: NDArray[np.int64]
    left: NDArray[np.int64]
    base: NDArray[np.int64]
    starts: Starts
    rows: Rows


@compiled
def _link(starts: Starts, rows: Rows) -> NDArray[np.int64]:
    """The edge that follows each edge.

    Edge i is the horizontal unit edge of transition i: an even one enters and runs right, an odd one leaves and runs
    left, so that the inside lies on the right hand. On the line between two columns, what does not continue straight is
    joined in pairs by vertical edges. Pixels that only share a corner are joined (8-connectivity).
    """
    width = len(starts) - 1
    following = np.full(len(rows), -1, np.int64)
    for line in range(width + 1):
        a = first_a = starts[line - 1] if line > 0 else 0
        end_a = starts[line] if line > 0 else 0
        b = first_b = starts[line] if line < width else 0
        end_b = starts[line + 1] if line < width else 0
        waiting = -1
        waiting_leads = False
        while a < end_a or b < end_b:
            a_enters = (a - first_a) % 2 == 0
            b_enters = (b - first_b) % 2 == 0
            both = a < end_a and b < end_b
            if both and rows[a] == rows[b] and a_enters == b_enters:
                if a_enters:
                    following[a] = b
                else:
                    following[b] = a
                a += 1
                b += 1
                continue
            # At a corner that two pixels share, the edge that enters closes the vertical edge above.
            take_a = rows[a] < rows[b] or (rows[a] == rows[b] and a_enters) if both else a < end_a
            edge = a if take_a else b
            leads = a_enters if take_a else not b_enters
            if take_a:
                a += 1
            else:
                b += 1
            if waiting < 0:
                waiting, waiting_leads = edge, leads
                continue
            if waiting_leads:
                following[waiting] = edge
            else:
                following[edge] = waiting
            waiting = -1
    return following


@compiled
def _walk(
    starts: Starts, rows: Rows, column: NDArray[np.int32], owner: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Corners and offsets of all outlines; `owner` is filled with the outline of each transition."""
    following = _link(starts, rows)
    corners = np.empty((2 * len(rows), 2), np.int32)
    offsets = np.zeros(len(rows) // 2 + 1, np.int64)
    n = loops = 0
    for first in range(len(rows)):
        if owner[first] >= 0:
            continue
        edge = first
        while owner[edge] < 0:
            owner[edge] = loops
            after = following[edge]
            if rows[after] != rows[edge]:
                runs_right = (edge - starts[column[edge]]) % 2 == 0
                corners[n : n + 2, 0] = column[edge] + 1 if runs_right else column[edge]
                corners[n, 1] = rows[edge]
                corners[n + 1, 1] = rows[after]
                n += 2
            edge = after
        loops += 1
        offsets[loops] = n
    return corners[:n].copy(), offsets[: loops + 1].copy()


@compiled
def _columns_of_outlines(
    rows: Rows, column: NDArray[np.int32], owner: NDArray[np.int64], left: NDArray[np.int64], base: NDArray[np.int64]
) -> tuple[Starts, Rows]:
    """Transitions sorted by outline, then column, then row."""
    starts = np.zeros(base[-1] + 1, np.int64)
    for i in range(len(rows)):
        starts[base[owner[i]] + column[i] - left[owner[i]] + 1] += 1
    for i in range(base[-1]):
        starts[i + 1] += starts[i]
    cursor = starts[:-1].copy()
    own = np.empty(len(rows), np.int32)
    for i in range(len(rows)):
        slot = base[owner[i]] + column[i] - left[owner[i]]
        own[cursor[slot]] = rows[i]
        cursor[slot] += 1
    return starts, own


@compiled
def trace(starts: Starts, rows: Rows) -> Outlines:
    """All outlines of a mask given by its columns."""
    column = np.empty(len(rows), np.int32)
    for x in range(len(starts) - 1):
        column[starts[x] : starts[x + 1]] = x
    owner = np.full(len(rows), -1, np.int64)
    corners, offsets = _walk(starts, rows, column, owner)
    loops = len(offsets) - 1
    parent = np.full(loops, -1, np.int64)
    area = np.zeros(loops, np.int64)
    left = np.full(loops, len(starts), np.int64)
    right = np.zeros(loops, np.int64)
    for i in range(len(rows)):
        k = owner[i]
        enters = (i - starts[column[i]]) % 2 == 0
        if left[k] == len(starts) and not enters:
            # The first edge of a hole closes a run; who opened that run is the hole's outline or a hole of the same.
            above = owner[i - 1]
            parent[k] = above if parent[above] < 0 else parent[above]
        left[k] = min(left[k], column[i])
        right[k] = max(right[k], column[i] + 1)
        area[k] += -rows[i] if enters else rows[i]
    base = np.zeros(loops + 1, np.int64)
    for k in range(loops):
        area[k] = abs(area[k])
        base[k + 1] = base[k] + right[k] - left[k]
    own_starts, own_rows = _columns_of_outlines(rows, column, owner, left, base)
    return Outlines(corners, offsets, parent, area, left, base, own_starts, own_rows)
