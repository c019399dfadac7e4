"""Boxes of masks and polygons, the point deepest inside, and whether outlines cross."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry._simple import edges_cross
from simpleseg_core.geometry._types import Mask, Polygon, as_mask


def mask_box(mask: Mask) -> NDArray[np.float64] | None:
    """Tight box (4,) xyxy of a mask, normalised on pixel edges; None when it is empty."""
    mask = as_mask(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    return np.array([columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height])


def polygons_box(polygons: Sequence[Polygon]) -> NDArray[np.float64] | None:
    """Box (4,) xyxy around all vertices; None when there are none."""
    filled = [polygon for polygon in polygons if len(polygon)]
    if not filled:
        return None
    vertices = np.concatenate(filled)
    box: NDArray[np.float64] = np.concatenate([vertices.min(axis=0), vertices.max(axis=0)])
    return box


def interior_point(mask: Mask) -> NDArray[np.float64]:
    """The pole of inaccessibility (2,): the centre, normalised, of the pixel that lies farthest from the outside.

    Raises:
        ValueError: the mask is empty.
    """
    mask = as_mask(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("an empty mask has no interior point: check `mask.any()` first")
    # Only what lies in its box can be inside: the cost follows the object, not the image.
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    padded = np.pad(inside, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # Squares are whole numbers: equal distances must tie, and the last bit of OpenCV's roots varies from call to call.
    y, x = np.unravel_index(int(np.rint(distance**2).argmax()), inside.shape)
    return np.array([(columns[0] + x + 0.5) / mask.shape[1], (rows[0] + y + 0.5) / mask.shape[0]])


def crosses_itself(polygon: Polygon) -> bool:
    """Whether edges of a polygon (N, 2) cross; an outline that touches itself, as at a bridge to a hole, does not."""
    # On the grid of the text the test is exact: products of integers this small have no rounding.
    return bool(edges_cross(np.rint(np.asarray(polygon, np.float64) * 1000)))
