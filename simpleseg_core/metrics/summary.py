"""Many scores -> one table of metrics, mergeable across workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from simpleseg_core.metrics.sample import SampleScore

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
SIZES: dict[str, tuple[float, float]] = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}
"""COCO's object sizes: areas in pixels, the upper end excluded."""

Scores = Sequence[SampleScore]


@dataclass(slots=True)
class MetricAccumulator:
    """Collects scores; accumulators of several workers merge into the same summary, in whatever order."""

    scores: list[SampleScore] = field(default_factory=list)

    def add(self, score: SampleScore) -> None:
        """Take one more score."""
        self.scores.append(score)

    def merge(self, other: "MetricAccumulator") -> None:
        """Take all scores of another accumulator."""
        self.scores.extend(other.scores)

    def summary(self) -> dict[str, float]:
        """All metrics by name; those without a sample are left out.

        gIoU is the mean of IoUs and cIoU the sum of intersections over the sum of unions (1 where that is 0); `n_acc`
        is the share of no-target samples answered with nothing and `t_acc` that of the others answered with something
        (GRES, Liu et al. 2023); `/small`, `/medium` and `/large` repeat the overlaps for the sizes of COCO.
        """
        scores = self.scores
        present = [score for score in scores if not score.truth_empty]
        absent = [score for score in scores if score.truth_empty]
        table = {"samples": float(len(scores))} | _overlaps(scores) | _outlines(scores) | _lengths(scores)
        table |= _mean("valid", scores, lambda score: score.valid)
        table |= _mean("rec_acc@0.5", present, lambda score: score.box_iou >= 0.5)
        table |= _mean("n_acc", absent, lambda score: score.predicted_empty)
        table |= _mean("t_acc", present, lambda score: not score.predicted_empty)
        for name, (low, high) in SIZES.items():
            sized = [score for score in present if low <= score.truth_area < high]
            parts = _overlaps(sized) | _mean("boundary_iou", sized, lambda score: score.boundary_iou)
            table |= {f"{metric}/{name}": value for metric, value in parts.items()}
        return table


def _overlaps(scores: Scores) -> dict[str, float]:
    if not scores:
        return {}
    union = sum(score.union for score in scores)
    table = _mean("giou", scores, lambda score: score.iou)
    table["ciou"] = sum(score.intersection for score in scores) / union if union else 1.0
    ious = np.array([score.iou for score in scores])
    return table | {f"p@{threshold}": float((ious >= threshold).mean()) for threshold in THRESHOLDS}


def _outlines(scores: Scores) -> dict[str, float]:
    both = [score for score in scores if np.isfinite(score.chamfer)]
    table = _mean("boundary_iou", scores, lambda score: score.boundary_iou)
    table |= _mean("boundary_f", scores, lambda score: score.boundary_f)
    return table | _mean("chamfer", both, lambda s: s.chamfer) | _mean("hausdorff", both, lambda s: s.hausdorff)


def _lengths(scores: Scores) -> dict[str, float]:
    parts = sum(score.parts for score in scores)
    table = _mean("points", scores, lambda score: score.points) | _mean("parts", scores, lambda score: score.parts)
    if parts:
        table["points_per_polygon"] = sum(score.points for score in scores) / parts
    counted = [score.tokens for score in scores if score.tokens is not None]
    return table | ({"tokens": float(np.mean(counted))} if counted else {})


def _mean(name: str, scores: Scores, value: Callable[[SampleScore], float]) -> dict[str, float]:
    return {name: float(np.mean([value(score) for score in scores]))} if scores else {}
