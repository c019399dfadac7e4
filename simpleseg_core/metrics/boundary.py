"""Metrics of the outline: boundary IoU, boundary F-score, Chamfer and Hausdorff distances."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Mask, Region


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
    first, second = (_band(mask, radius) for mask in _cropped(ours, theirs))
    return int((first & second).sum()) / int((first | second).sum())


def outline_distances(prediction: Region | Mask, truth: Region | Mask, tolerance: float = 0.008) -> OutlineDistances:
    """Compare outlines, taken as the pixels of a mask with one of their four neighbours outside.

    The F-score is that of Perazzi et al. 2016 (DAVIS): outline pixels match within `tolerance` of the image's diagonal,
    at least a pixel. Chamfer is the mean of both mean distances to the other outline, Hausdorff the largest distance.
    """
    ours, theirs = _region(prediction), _region(truth)
    if not ours.area or not theirs.area:
        return OutlineDistances(float(ours.area == theirs.area), np.nan, np.nan)
    reach = max(1.0, round(tolerance * float(np.hypot(ours.height, ours.width))))
    first, second = (_outline(mask) for mask in _cropped(ours, theirs))
    there, back = _distance_to(second)[first], _distance_to(first)[second]
    precision, recall = float((there <= reach).mean()), float((back <= reach).mean())
    f_score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return OutlineDistances(f_score, float(there.mean() + back.mean()) / 2, float(max(there.max(), back.max())))


def _region(pixels: Region | Mask) -> Region:
    return pixels if isinstance(pixels, Region) else Region.from_truth(pixels)


def _cropped(a: Region, b: Region) -> tuple[Mask, Mask]:
    """Two masks, neither empty, cut to what they occupy together and a margin of one empty pixel."""
    boxes = np.array([a.pixel_box(), b.pixel_box()])
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    first, second = (np.pad(region.mask()[top:bottom, left:right], 1) for region in (a, b))
    return first, second


def _band(mask: Mask, radius: int) -> Mask:
    depth = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_C, cv2.DIST_MASK_3)
    band: Mask = mask & (depth <= radius)
    return band


def _outline(mask: Mask) -> Mask:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    outline: Mask = mask & ~cv2.erode(mask.view(np.uint8), cross).astype(bool)
    return outline


def _distance_to(outline: Mask) -> NDArray[np.float32]:
    """Distance of every pixel to the nearest one of an outline."""
    distance = cv2.distanceTransform((~outline).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32)
