"""The score of one answer against its true mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Mask, Polygon, Region, Rle, polygons_box
from simpleseg_core.grammar import Style, parse_box, parse_polygons
from simpleseg_core.metrics.boundary import boundary_iou, outline_distances


@dataclass(frozen=True, slots=True)
class SampleScore:
    """What one answer is worth; counts and distances are in pixels.

    `chamfer` and `hausdorff` are not a number where there is no pair of outlines to compare.
    """

    iou: float
    intersection: int
    union: int
    box_iou: float
    boundary_iou: float
    boundary_f: float
    chamfer: float
    hausdorff: float
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
    prediction: str | Sequence[Polygon] | Region,
    truth: Rle | Mask,
    *,
    box_answer: str | None = None,
    tokens: int | None = None,
    style: Style | None = None,
) -> SampleScore:
    """Score an answer, as text, polygons (each (N, 2), normalised) or pixels, against the true mask.

    An empty union scores 1, as in LISA and Text4Seg; an answer that cannot be read scores 0 even there.

    Args:
        box_answer: text of a separate box answer; without it the box is the one around the polygons.
        tokens: tokens of the answer, passed on to the summary.
        style: the style that was asked for; what the answer's numbers do not tell is guessed without it.

    Raises:
        ValueError: the truth is not an RLE.
    """
    polygons, error = _polygons(prediction, style)
    target = Region.from_truth(truth)
    exact = prediction if isinstance(prediction, Region) else None
    found = exact or Region.from_polygons(polygons, target.height, target.width)
    intersection = found.intersection(target)
    union = found.area + target.area - intersection
    drawn = exact.box() if exact else polygons_box(polygons)
    box = drawn if box_answer is None else next(iter(parse_box(box_answer, style=style).boxes), None)
    outlines = outline_distances(found, target)
    readable = float(error is None)
    return SampleScore(
        iou=intersection / union if union else readable,
        intersection=intersection,
        union=union,
        box_iou=box_iou(box, target.box()) if box is not None or target.area else readable,
        boundary_iou=boundary_iou(found, target) if union else readable,
        boundary_f=outlines.f_score if union else readable,
        chamfer=outlines.chamfer,
        hausdorff=outlines.hausdorff,
        valid=error is None,
        error=error,
        predicted_empty=error is None and not found.area,
        truth_empty=not target.area,
        truth_area=target.area,
        parts=exact.parts() if exact else len(polygons),
        points=sum(map(len, polygons)),
        tokens=tokens,
    )


def _polygons(
    prediction: str | Sequence[Polygon] | Region, style: Style | None
) -> tuple[Sequence[Polygon], str | None]:
    if isinstance(prediction, str):
        parsed = parse_polygons(prediction, style=style)
        return parsed.polygons, parsed.error
    return () if isinstance(prediction, Region) else prediction, None
