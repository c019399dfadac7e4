"""The score of one answer against its true mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Mask, Polygon, Rle, decode_rle, mask_box, polygons_box, polygons_to_mask
from simpleseg_core.grammar import parse_box, parse_polygons
from simpleseg_core.metrics.boundary import boundary_iou


@dataclass(frozen=True, slots=True)
class SampleScore:
    """What one answer is worth; counts are in pixels."""

    iou: float
    intersection: int
    union: int
    box_iou: float
    boundary_iou: float
    valid: bool
    error: str | None
    predicted_empty: bool
    truth_empty: bool
    truth_area: int
    parts: int
    points: int
    tokens: int | None


def box_iou(ours: NDArray[np.float64] | None, theirs: NDArray[np.float64] | None) -> float:
    """IoU of two boxes (4,) xyxy; 1 when both are missing, 0 when one is."""
    if ours is None or theirs is None:
        return float(ours is None and theirs is None)
    sides = np.minimum(ours[2:], theirs[2:]) - np.maximum(ours[:2], theirs[:2])
    intersection = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(ours[2:] - ours[:2]) + np.prod(theirs[2:] - theirs[:2])) - intersection
    return intersection / union if union > 0 else 0.0


def score_sample(
    prediction: str | Sequence[Polygon], truth: Rle | Mask, *, box_answer: str | None = None, tokens: int | None = None
) -> SampleScore:
    """Score an answer, as text or as polygons, against the true mask.

    Args:
        box_answer: text of a separate box answer; without it the box is the one around the polygons.
        tokens: tokens of the answer, passed on to the summary.
    """
    polygons, error = _polygons(prediction)
    mask = truth if isinstance(truth, np.ndarray) else decode_rle(truth)
    filled = polygons_to_mask(polygons, *mask.shape)
    intersection, union = int((filled & mask).sum()), int((filled | mask).sum())
    box = polygons_box(polygons) if box_answer is None else next(iter(parse_box(box_answer).boxes), None)
    invalid_on_nothing = error is not None and not mask.any()
    return SampleScore(
        iou=0.0 if invalid_on_nothing else intersection / union if union else 1.0,
        intersection=intersection,
        union=union,
        box_iou=box_iou(box, mask_box(mask)),
        boundary_iou=boundary_iou(filled, mask),
        valid=error is None,
        error=error,
        predicted_empty=error is None and not filled.any(),
        truth_empty=not mask.any(),
        truth_area=int(mask.sum()),
        parts=len(polygons),
        points=sum(len(polygon) for polygon in polygons),
        tokens=tokens,
    )


def _polygons(prediction: str | Sequence[Polygon]) -> tuple[Sequence[Polygon], str | None]:
    if isinstance(prediction, str):
        parsed = parse_polygons(prediction)
        return parsed.polygons, parsed.error
    return prediction, None
