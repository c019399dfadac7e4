"""Column runs: the rows at which each column of a mask changes, which is all that tracing, scoring and RLE need.

A column's transitions are sorted and come in pairs: the first row inside, the first row after it. Column x owns
`rows[starts[x]:starts[x + 1]]`. The cost of everything built on them follows the outline, not the area.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_CHUNK = 64


class Runs(NamedTuple):
    """Column runs of a mask of `height` rows and `len(starts) - 1` columns."""

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    height: int


@njit(cache=True, nogil=True)
def _changes_by_row(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:  # pragma: no cover
    """Columns and rows of every vertical change of a C-contiguous mask, in row order."""
    height, width = mask.shape
    xs = np.empty(1024, np.int32)
    ys = np.empty(1024, np.int32)
    n = 0
    for y in range(height + 1):
        for left in range(0, width, _CHUNK):
            right = min(left + _CHUNK, width)
            changed = np.uint8(0)
            if y == 0:
                for x in range(left, right):
                    changed |= mask[0, x]
            elif y == height:
                for x in range(left, right):
                    changed |= mask[y - 1, x]
            else:
                for x in range(left, right):
                    changed |= mask[y, x] ^ mask[y - 1, x]
            if not changed:
                continue
            if n + _CHUNK > len(xs):
                xs = np.concatenate((xs, np.empty_like(xs)))
                ys = np.concatenate((ys, np.empty_like(ys)))
            for x in range(left, right):
                above = mask[y - 1, x] if y > 0 else np.uint8(0)
                below = mask[y, x] if y < height else np.uint8(0)
                if above != below:
                    xs[n] = x
                    ys[n] = y
                    n += 1
    return xs[:n], ys[:n]


@njit(cache=True, nogil=True)
def _by_column(
    xs: NDArray[np.int32], ys: NDArray[np.int32], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:  # pragma: no cover
    """Counting sort of changes by column; rows stay in order."""
    starts = np.zeros(width + 1, np.int64)
    for x in xs:
        starts[x + 1] += 1
    for x in range(width):
        starts[x + 1] += starts[x]
    cursor = starts[:-1].copy()
    rows = np.empty(len(ys), np.int32)
    for i in range(len(xs)):
        rows[cursor[xs[i]]] = ys[i]
        cursor[xs[i]] += 1
    return starts, rows


def mask_runs(mask: NDArray[np.bool_]) -> Runs:
    """Column runs of a mask (H, W)."""
    height, width = mask.shape
    xs, ys = _changes_by_row(np.ascontiguousarray(mask).view(np.uint8))
    return Runs(*_by_column(xs, ys, width), height)
