"""Metrics of the outline: boundary IoU, boundary F-score."""

import cv2
import numpy as np

from simpleseg_core.geometry import Mask


def boundary_iou(prediction: Mask, truth: Mask, width: float = 0.02) -> float:
    """IoU of the inner boundary bands, `width` times the image's diagonal wide (Cheng et al. 2021, Boundary IoU)."""
    radius = max(1, round(width * float(np.hypot(*truth.shape))))
    ours, theirs = _band(prediction, radius), _band(truth, radius)
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 1.0


def _band(mask: Mask, radius: int) -> Mask:
    padded = np.pad(mask, 1).astype(np.uint8)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=radius)[1:-1, 1:-1]
    band: Mask = mask & ~eroded.astype(bool)
    return band
