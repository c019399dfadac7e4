"""From polygons to masks, pixel for pixel as pycocotools fills them, and the overlap of polygons with a true mask."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from simpleseg_core.geometry._types import Mask, Polygon, Rle
from simpleseg_core.geometry.rle import decode_rle


def polygons_to_mask(polygons: Sequence[Polygon] | Sequence[NDArray[np.float64]], height: int, width: int) -> Mask:
    """Fill polygons (each (N, 2), normalised) and unite them: a mask (H, W).

    Degenerate polygons (under 3 points, not finite) fill nothing; what lies outside [0, 1] is cut off.
    """
    scale = np.array([width, height], np.float64)
    rings = [(np.clip(p, -1, 2) * scale).ravel().tolist() for p in polygons if len(p) >= 3 and np.isfinite(p).all()]
    if not rings:
        return np.zeros((height, width), bool)
    merged = coco.merge(coco.frPyObjects(rings, height, width))
    return np.ascontiguousarray(coco.decode(merged)).astype(bool)


def polygons_mask_iou(polygons: Sequence[Polygon], truth: Rle | Mask) -> float:
    """Intersection over union of filled polygons and a true mask; 1 when both are empty (as LISA counts it)."""
    mask = truth if isinstance(truth, np.ndarray) else decode_rle(truth)
    filled = polygons_to_mask(polygons, *mask.shape)
    union = int((filled | mask).sum())
    return int((filled & mask).sum()) / union if union else 1.0
