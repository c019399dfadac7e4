"""The terms of the reward: pure functions into [0, 1], each with its formula."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Mask, Polygon, polygons_mask_iou
from simpleseg_core.grammar import Parsed, Style, parse_polygons
from simpleseg_core.metrics import boundary_iou


def iou_term(polygons: Sequence[Polygon], truth: Mask) -> float:
    """|P ∩ T| / |P ∪ T| of the filled polygons P and the truth T; 1 when both are empty."""
    return polygons_mask_iou(polygons, truth)


def distance_term(prediction: Mask, truth: Mask) -> float:
    """1 - min(1, |c(P) - c(T)|² / 2), with centroids c normalised to [0, 1] (SimpleSeg's MSE between centroids, turned
    into a reward). 1 when both are empty, 0 when one is."""
    ours, theirs = _centroid(prediction), _centroid(truth)
    if ours is None or theirs is None:
        return float(ours is None and theirs is None)
    return 1.0 - min(1.0, float(((ours - theirs) ** 2).sum()) / 2)


def format_term(text: str, style: Style, max_points: int, max_parts: int) -> float:
    """1 when the text is exactly in the grammar, within the limits on points and parts; else 0."""
    parsed = parse_polygons(text, strict=True, style=style)
    points = sum(len(polygon) for polygon in parsed.polygons)
    return float(parsed.error is None and points <= max_points and len(parsed.polygons) <= max_parts)


def length_term(parsed: Parsed, max_points: int) -> float:
    """1 - min(1, points / max_points)."""
    return 1.0 - min(1.0, sum(len(polygon) for polygon in parsed.polygons) / max_points)


def boundary_term(prediction: Mask, truth: Mask, width: float) -> float:
    """Boundary IoU (Cheng et al. 2021) with a band of `width` times the image's diagonal."""
    return boundary_iou(prediction, truth, width)


def parts_term(found: int, expected: int) -> float:
    """min(a, b) / max(a, b) of the number of polygons and the number of parts; 1 when both are 0."""
    return min(found, expected) / max(found, expected) if max(found, expected) else 1.0


def _centroid(mask: Mask) -> NDArray[np.float64] | None:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    height, width = mask.shape
    return np.array([(columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height])
