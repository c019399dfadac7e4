"""Filling polygons: the rows at which an edge crosses the columns of the image, as pycocotools decides them.

COCO's rule: vertices are rounded to fifths of a pixel, an edge is a digital line between them, and column x is crossed
between the fifths 5x + 2 and 5x + 3, its centre. Crossings are computed column by column, without drawing the line.
"""

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._compile import compiled
from simpleseg_core.geometry._runs import Rows, Spans, Starts, columns_to_spans

FIFTHS = 5
_FAR = 4.0


@compiled
def to_fifths(coordinate: float, size: int) -> int:
    """A normalised coordinate in fifths of a pixel, kept within a few image sizes so that nothing overflows."""
    near = min(max(coordinate, -_FAR), _FAR) * size
    return int(FIFTHS * near + 0.5)


@compiled
def columns_crossed(ax: int, bx: int, width: int) -> tuple[int, int]:
    """First column that an edge from ax to bx (fifths) crosses, and the one after the last; equal when none."""
    low, high = min(ax, bx), max(ax, bx)
    first = max((low + 2) // FIFTHS, 0)
    last = min((high + 2) // FIFTHS, width)
    return first, max(first, last)


@compiled
def crossing_rows(
    ax: int, ay: int, bx: int, by: int, first: int, last: int, height: int, out: NDArray[np.int32]
) -> None:
    """First row below the edge a-b (fifths) in each column of [first, last), within [0, height]."""
    dx, dy = abs(bx - ax), abs(by - ay)
    swap = ax > bx if dx >= dy else ay > by
    if swap:
        ax, ay, bx, by = bx, by, ax, ay
    if dx >= dy:
        slope = (by - ay) / dx
        for column in range(first, last):
            step = FIFTHS * column + 2 - ax
            upper = min(int(ay + slope * step + 0.5), int(ay + slope * (step + 1) + 0.5))
            out[column - first] = min(max((upper + 2) // FIFTHS, 0), height)
        return
    slope = (bx - ax) / dy
    for column in range(first, last):
        left = FIFTHS * column + 2
        step = int((left + 0.5 - ax) / slope)
        # The digital line decides by the rounding of its own expression: move to the step at which that one crosses.
        if slope > 0:
            while int(ax + slope * (step - 1) + 0.5) > left:
                step -= 1
            while int(ax + slope * step + 0.5) <= left:
                step += 1
        else:
            while int(ax + slope * (step - 1) + 0.5) <= left:
                step -= 1
            while int(ax + slope * step + 0.5) > left:
                step += 1
        out[column - first] = min(max((ay + step + 1) // FIFTHS, 0), height)


@compiled
def _vertices(polygon: NDArray[np.float64], height: int, width: int) -> NDArray[np.int64]:
    """Vertices (N + 1, 2) in fifths, the first one repeated; empty when one is not finite or there are under three."""
    count = len(polygon)
    fifths = np.empty((count + 1, 2), np.int64)
    if count < 3:
        return fifths[:0]
    for i in range(count):
        x, y = polygon[i]
        if not (np.isfinite(x) and np.isfinite(y)):
            return fifths[:0]
        fifths[i, 0] = to_fifths(x, width)
        fifths[i, 1] = to_fifths(y, height)
    fifths[count] = fifths[0]
    return fifths


@compiled
def fill(polygon: NDArray[np.float64], height: int, width: int) -> Spans:
    """Spans of the pixels inside one polygon (N, 2), normalised, by the even-odd rule."""
    edges = _vertices(polygon, height, width)
    starts = np.zeros(width + 1, np.int64)
    for i in range(len(edges) - 1):
        first, last = columns_crossed(edges[i, 0], edges[i + 1, 0], width)
        for column in range(first, last):
            starts[column + 1] += 1
    for column in range(width):
        starts[column + 1] += starts[column]
    rows = np.empty(starts[width], np.int32)
    cursor = starts[:-1].copy()
    crossed = np.empty(width, np.int32)
    for i in range(len(edges) - 1):
        first, last = columns_crossed(edges[i, 0], edges[i + 1, 0], width)
        if first == last:
            continue
        crossing_rows(edges[i, 0], edges[i, 1], edges[i + 1, 0], edges[i + 1, 1], first, last, height, crossed)
        for column in range(first, last):
            rows[cursor[column]] = crossed[column - first]
            cursor[column] += 1
    _sort_columns(starts, rows, height)
    return columns_to_spans(starts, rows, height)


@compiled
def _sort_columns(starts: Starts, rows: Rows, height: int) -> None:
    """Sort each column's rows where they are: by insertion while that costs less than counting up to the height."""
    counts = np.zeros(height + 1, np.int32)
    for column in range(len(starts) - 1):
        start, end = starts[column], starts[column + 1]
        if (end - start) * (end - start) > 4 * height:
            for i in range(start, end):
                counts[rows[i]] += 1
            i = start
            for row in range(height + 1):
                rows[i : i + counts[row]] = row
                i += counts[row]
                counts[row] = 0
            continue
        for i in range(start + 1, end):
            row = rows[i]
            j = i
            while j > start and rows[j - 1] > row:
                rows[j] = rows[j - 1]
                j -= 1
            rows[j] = row
