"""Metrics of the outline: boundary IoU, boundary F-score, Chamfer and Hausdorff distances; they cost what it costs."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from simpleseg_core.geometry import Mask, Region

_SEARCH = 40


@dataclass(frozen=True, slots=True)
class OutlineDistances:
    """Distances between the outlines of two masks, in pixels; not a number where one of them is empty."""

    f_score: float
    chamfer: float
    hausdorff: float


def boundary_iou(prediction: Region | Mask, truth: Region | Mask, width: float = 0.02) -> float:
    """IoU of the inner boundary bands, `width` times the image's diagonal wide, at least a pixel; 1 if both are empty.

    Cheng et al. 2021, Boundary IoU (arXiv 2103.16562): a band holds the pixels of the mask within that many 8-neighbour
    steps of its outside; what lies beyond the image is outside.
    """
    ours, theirs = _region(prediction), _region(truth)
    if not ours.area or not theirs.area:
        return float(ours.area == theirs.area)
    radius = max(1, round(width * float(np.hypot(ours.height, ours.width))))
    deep, below = ours.eroded(radius), theirs.eroded(radius)
    shared = ours.intersection(theirs) - deep.intersection(theirs) - ours.intersection(below) + deep.intersection(below)
    return shared / (ours.area - deep.area + theirs.area - below.area - shared)


def outline_distances(prediction: Region | Mask, truth: Region | Mask, tolerance: float = 0.008) -> OutlineDistances:
    """Compare outlines, taken as the pixels of a mask with one of their four neighbours outside.

    The F-score is that of Perazzi et al. 2016 (DAVIS): outline pixels match within `tolerance` of the image's diagonal,
    at least a pixel. Chamfer is the mean of both mean distances to the other outline, Hausdorff the largest distance.
    """
    ours, theirs = _region(prediction), _region(truth)
    if not ours.area or not theirs.area:
        return OutlineDistances(float(ours.area == theirs.area), np.nan, np.nan)
    reach = max(1.0, round(tolerance * float(np.hypot(ours.height, ours.width))))
    first, second = ours.outline(), theirs.outline()
    there, back = _distances(first, second), _distances(second, first)
    precision, recall = float((there <= reach).mean()), float((back <= reach).mean())
    f_score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return OutlineDistances(f_score, float(there.mean() + back.mean()) / 2, float(max(there.max(), back.max())))


def _region(pixels: Region | Mask) -> Region:
    return pixels if isinstance(pixels, Region) else Region.from_truth(pixels)


def _distances(pixels: NDArray[np.int64], outline: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each pixel (N, 2) to the nearest of an outline (M, 2)."""
    low = np.minimum(pixels.min(axis=0), outline.min(axis=0))
    columns, rows = np.maximum(pixels.max(axis=0), outline.max(axis=0)) - low + 1
    # A search costs what so many pixels of a distance transform do: only noise has outlines that dense.
    if _SEARCH * (len(pixels) + len(outline)) < rows * columns:
        return np.asarray(cKDTree(outline).query(pixels)[0])
    away = np.ones((rows, columns), np.uint8)
    away[tuple((outline - low).T[::-1])] = 0
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[tuple((pixels - low).T[::-1])], np.float64)
