"""Many scores -> one table of metrics, mergeable across workers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from simpleseg_core.metrics.sample import SampleScore

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
SIZES: dict[str, tuple[float, float]] = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}
"""COCO's object sizes, areas in pixels."""


@dataclass(slots=True)
class MetricAccumulator:
    """Collects scores; accumulators of several workers merge into the same summary."""

    scores: list[SampleScore] = field(default_factory=list)

    def add(self, score: SampleScore) -> None:
        """Take one more score."""
        self.scores.append(score)

    def merge(self, other: "MetricAccumulator") -> None:
        """Take all scores of another accumulator."""
        self.scores.extend(other.scores)

    def summary(self) -> dict[str, float]:
        """All metrics by name; those without a sample are left out."""
        table = {"samples": float(len(self.scores))} | _overlap(self.scores)
        table |= _mean("valid", self.scores, lambda s: s.valid) | _mean(
            "boundary_iou", self.scores, lambda s: s.boundary_iou
        )
        present = [score for score in self.scores if not score.truth_empty]
        absent = [score for score in self.scores if score.truth_empty]
        table |= _mean("rec_acc@0.5", present, lambda s: s.box_iou >= 0.5)
        table |= _mean("n_acc", absent, lambda s: s.predicted_empty)
        table |= _mean("t_acc", present, lambda s: not s.predicted_empty)
        table |= _mean("points", self.scores, lambda s: s.points)
        table |= _mean("tokens", [s for s in self.scores if s.tokens is not None], lambda s: s.tokens or 0)
        for name, (low, high) in SIZES.items():
            sized = [score for score in present if low <= score.truth_area < high]
            table |= {f"{metric}/{name}": value for metric, value in _overlap(sized).items()}
        return table


def _overlap(scores: list[SampleScore]) -> dict[str, float]:
    if not scores:
        return {}
    union = sum(score.union for score in scores)
    table = _mean("giou", scores, lambda s: s.iou)
    table["ciou"] = sum(score.intersection for score in scores) / union if union else 1.0
    for threshold in THRESHOLDS:
        table |= _mean(f"p@{threshold}", scores, lambda s, t=threshold: s.iou >= t)  # type: ignore[misc]
    return table


def _mean(name: str, scores: Iterable[SampleScore], value: Callable[[SampleScore], float]) -> dict[str, float]:
    values = [float(value(score)) for score in scores]
    return {name: float(np.mean(values))} if values else {}
