"""From polygons to masks, pixel for pixel as pycocotools fills them, and the overlap of polygons with a true mask."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import _runs, _spans
from simpleseg_core.geometry._fill import fill
from simpleseg_core.geometry._types import Mask, Polygon, Rle, as_mask
from simpleseg_core.geometry.rle import rle_size, rle_spans

_NOTHING = np.empty(0, np.int64)


class Overlap(NamedTuple):
    """Pixels of a prediction against a truth."""

    intersection: int
    union: int
    predicted: int
    true: int

    @property
    def iou(self) -> float:
        """Intersection over union; 1 when both are empty, as LISA counts it."""
        return self.intersection / self.union if self.union else 1.0


def polygons_to_mask(polygons: Sequence[Polygon], height: int, width: int) -> Mask:
    """Fill polygons (each (N, 2), normalised) by the even-odd rule and unite them: a mask (H, W).

    Polygons of under 3 points or with a coordinate that is not finite fill nothing; what lies outside [0, 1] is cut.
    """
    return _runs.spans_to_mask(polygons_spans(polygons, height, width), height, width)


def polygons_overlap(polygons: Sequence[Polygon], truth: Rle | Mask) -> Overlap:
    """Pixels that filled polygons share with a true mask; with an RLE the cost follows the outlines, not the image."""
    if isinstance(truth, np.ndarray):
        truth = as_mask(truth)
        (height, width), spans = truth.shape, _runs.mask_spans(truth)
    else:
        (height, width), spans = rle_size(truth), rle_spans(truth)
    filled = polygons_spans(polygons, height, width)
    predicted, true = _spans.spans_area(filled), _spans.spans_area(spans)
    intersection = _spans.spans_intersection(filled, spans)
    return Overlap(intersection, predicted + true - intersection, predicted, true)


def polygons_mask_iou(polygons: Sequence[Polygon], truth: Rle | Mask) -> float:
    """Intersection over union of filled polygons and a true mask; 1 when both are empty, as LISA counts it."""
    return polygons_overlap(polygons, truth).iou


def polygons_spans(polygons: Sequence[Polygon], height: int, width: int) -> _runs.Spans:
    """Column-major spans of the pixels inside any of the polygons."""
    filled = [fill(_vertices(polygon), height, width) for polygon in polygons]
    while len(filled) > 1:
        # In pairs, so that many polygons cost little more than their sum.
        filled = [reduce(_spans.spans_union, filled[i : i + 2]) for i in range(0, len(filled), 2)]
    return filled[0] if filled else _NOTHING


def _vertices(polygon: Polygon) -> NDArray[np.float64]:
    array = np.ascontiguousarray(polygon, np.float64)
    return array if array.ndim == 2 and array.shape[1] == 2 else np.empty((0, 2))
