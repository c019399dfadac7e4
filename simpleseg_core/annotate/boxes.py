"""Overlap of boxes and non-maximum suppression; boxes are xyxy in any one unit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pairwise_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """IoU (N, M) of every box of (N, 4) with every box of (M, 4); 0 where both are empty."""
    a, b = np.asarray(first, np.float64).reshape(-1, 1, 4), np.asarray(second, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection: NDArray[np.float64] = sides.clip(min=0).prod(axis=2)
    union = _area(a) + _area(b) - intersection
    iou: NDArray[np.float64] = intersection / np.where(union > 0, union, 1.0)
    return iou


def box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """IoU of two boxes."""
    return float(pairwise_iou(first, second)[0, 0])


def suppress(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> list[int]:
    """Greedy non-maximum suppression: indices of the kept boxes of (N, 4), best first; equal scores keep their order.

    A box is dropped when its IoU with a kept one exceeds `threshold`.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)[order]
    overlaps = pairwise_iou(corners, corners) > threshold
    alive = np.ones(len(corners), bool)
    for index in range(len(corners)):
        if alive[index]:
            alive[index + 1 :] &= ~overlaps[index, index + 1 :]
    return [int(index) for index in order[alive]]


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(axis=2)
    return area
