"""The outlines of a mask on the grid of the text, and what is known of each on its way to a polygon."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import _runs, _simple, _simplify
from simpleseg_core.geometry._simple import Points
from simpleseg_core.geometry._trace import Outlines, trace
from simpleseg_core.geometry._types import Mask, Rle, as_mask
from simpleseg_core.geometry.rle import rle_size, rle_spans

Holes = Literal["bridge", "drop"]
Rings = dict[int, Points]
"""Polygons on the grid by the outline that they stand for."""
Redraw = Callable[[int, float], Points]
"""Draws an outline again at a share of its tolerance or price."""

STAIRCASE = 0.75
"""Corners nearer than this to a chord, in pixels, are steps of the staircase that a straight edge becomes."""
# Past so many corners, looking for those that cross on a coarse grid costs too much.
_MOST_CHECKED = 20_000


@dataclass(frozen=True, slots=True)
class Contour:
    """One outline on its way to a polygon: its corners in pixels, prefix moments, and the corners kept so far."""

    index: int
    corners: NDArray[np.int32]
    sums: NDArray[np.float64]
    kept: NDArray[np.int64]
    is_hole: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """The outlines of a mask and the image they lie in."""

    outlines: Outlines
    height: int
    width: int
    grid: int

    def corners(self, k: int) -> NDArray[np.int32]:
        """Corners (N, 2) of outline k in pixels."""
        return self.outlines.corners[self.outlines.offsets[k] : self.outlines.offsets[k + 1]]

    def is_hole(self, k: int) -> bool:
        return bool(self.outlines.parent[k] >= 0)

    def area(self, k: int) -> int:
        """Pixels that outline k encloses."""
        return int(self.outlines.area[k])

    def contour(self, k: int, steps: float) -> Contour:
        """Outline k without the corners that lie within `steps` pixels of a chord."""
        corners = self.corners(k)
        kept = _simplify.douglas_peucker(corners, steps)
        return Contour(k, corners, _simplify.outline_moments(corners), kept, self.is_hole(k))

    def snap(self, vertices: NDArray[np.float64] | NDArray[np.int32], is_hole: bool) -> Points:
        """Vertices in pixels -> different neighbours on the grid, clockwise."""
        scale = np.array([self.grid / self.width, self.grid / self.height])
        points = np.clip(np.rint(vertices * scale), 0, self.grid).astype(np.int64)
        points = points[(points != np.concatenate([points[-1:], points[:-1]])).any(axis=1)]
        return np.ascontiguousarray(points[::-1]) if is_hole else points

    def exact(self, k: int) -> Points:
        """Every corner; the box of the outline where the grid is too coarse to tell the corners apart."""
        points = self.snap(self.corners(k), self.is_hole(k))
        fine = max(self.height, self.width) <= self.grid or len(points) > _MOST_CHECKED
        faithful = fine or _simple.is_simple(points)
        return points if faithful and len(points) >= 3 else self.box(k)

    def box(self, k: int) -> Points:
        """The box of an outline on the grid, at least one step wide and high."""
        corners = self.corners(k)
        scale = np.array([self.grid / self.width, self.grid / self.height])
        x1, y1 = np.minimum(np.floor(corners.min(axis=0) * scale), self.grid - 1).astype(np.int64)
        far = np.minimum(np.ceil(corners.max(axis=0) * scale), self.grid).astype(np.int64)
        x2, y2 = np.maximum(far, (x1 + 1, y1 + 1))
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])

    def count_points(self, rings: Rings) -> int:
        """Vertices of all rings; a bridge repeats two."""
        return sum(len(ring) + 2 * self.is_hole(k) for k, ring in rings.items())

    def largest(self, chosen: Iterable[int]) -> int:
        """The outer outline that encloses most."""
        return max((k for k in chosen if not self.is_hole(k)), key=self.area)


def open_shape(mask: Mask | Rle, grid: int) -> Shape:
    """Trace the outlines of a mask.

    Raises:
        ValueError: neither a mask nor an RLE.
    """
    if isinstance(mask, np.ndarray):
        mask = as_mask(mask)
        height, width = mask.shape
        return Shape(trace(*_runs.mask_columns(mask)), height, width, grid)
    height, width = rle_size(mask)
    return Shape(trace(*_runs.spans_to_columns(rle_spans(mask), height, width)), height, width, grid)


def choose_outlines(outlines: Outlines, min_area: float, holes: Holes) -> list[int]:
    """The outlines to draw: large enough, and their outer ring too."""
    large = outlines.area >= min_area
    outer = outlines.parent < 0
    wanted = large & (outer | large[outlines.parent]) if holes == "bridge" else large & outer
    return [int(k) for k in np.flatnonzero(wanted)]
