"""A set of pixels as column runs: overlap, area, centroid and box without painting a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import _runs, _spans
from simpleseg_core.geometry._trace import trace
from simpleseg_core.geometry._types import Mask, Polygon, Rle, as_mask
from simpleseg_core.geometry.raster import polygons_spans
from simpleseg_core.geometry.rle import rle_size, rle_spans


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Pixels of an image of `height` x `width`; the cost of everything follows the outline, not the area."""

    spans: NDArray[np.int64]
    height: int
    width: int

    @classmethod
    def from_polygons(cls, polygons: Sequence[Polygon], height: int, width: int) -> "Region":
        """What polygons (each (N, 2), normalised) fill together."""
        return cls(polygons_spans(polygons, height, width), height, width)

    @classmethod
    def from_truth(cls, truth: Rle | Mask) -> "Region":
        """The pixels of a COCO RLE or of a mask (H, W).

        Raises:
            ValueError: not an RLE.
        """
        if isinstance(truth, np.ndarray):
            return cls(_runs.mask_spans(as_mask(truth)), *truth.shape)
        return cls(rle_spans(truth), *rle_size(truth))

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(_spans.spans_area(self.spans))

    def intersection(self, other: "Region") -> int:
        """Pixels inside both."""
        return int(_spans.spans_intersection(self.spans, other.spans))

    def eroded(self, radius: int) -> "Region":
        """The pixels more than `radius` 8-neighbour steps away from the outside, which begins at the border."""
        return Region(_spans.spans_eroded(self.spans, self.height, radius), self.height, self.width)

    def outline(self) -> NDArray[np.int64]:
        """Column and row (N, 2) of the pixels with one of their four neighbours outside, beyond the border too."""
        starts, ends = _spans.spans_outline(self.spans, self.height).reshape(-1, 2).T
        lengths = ends - starts
        before = np.cumsum(lengths) - lengths
        flat = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
        return np.stack(np.divmod(flat, max(self.height, 1)), axis=1)

    def parts(self) -> int:
        """How many 8-connected parts there are."""
        outlines = trace(*_runs.spans_to_columns(self.spans, self.height, self.width))
        return int((outlines.parent < 0).sum())

    def centroid(self) -> NDArray[np.float64] | None:
        """Mean of the pixel centres (2,), normalised; None when empty."""
        area, x, y = _spans.spans_moments(self.spans, self.height)
        return np.array([x / area / self.width, y / area / self.height]) if area else None

    def pixel_box(self) -> tuple[int, int, int, int] | None:
        """First column and row inside, and the ones after the last; None when empty."""
        if not len(self.spans):
            return None
        starts, rows = _runs.spans_to_columns(self.spans, self.height, self.width)
        columns = np.flatnonzero(np.diff(starts))
        return int(columns[0]), int(rows.min()), int(columns[-1]) + 1, int(rows.max())

    def box(self) -> NDArray[np.float64] | None:
        """Tight box (4,) xyxy, normalised; None when empty."""
        sides = self.pixel_box()
        return None if sides is None else np.array(sides) / (self.width, self.height, self.width, self.height)

    def mask(self) -> Mask:
        """The mask (height, width)."""
        return _runs.spans_to_mask(self.spans, self.height, self.width)
