"""The one table of metrics: what each is called, its unit, which direction is better, and how answers make it.

A metric is one entry of `METRICS`; evaluation, report, MLflow, Prefect and the terminal read them from here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of one model on one benchmark, column by column (n,), in the order of the benchmark.

    Columns are named as in `SampleScore`; pixels where that counts pixels.
    """

    sample: NDArray[np.str_]
    kind: NDArray[np.str_]
    area: Values
    """Of the true mask, as a share of the image."""
    targets: Values
    """Objects that the query means; 0 where the right answer is `[]`."""
    iou: Values
    intersection: Values
    union: Values
    box_iou: Values
    boundary_iou: Values
    boundary_f: Values
    chamfer: Values
    hausdorff: Values
    valid: Values
    predicted_empty: Values
    points: Values
    tokens: Values

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Predictions":
        """Columns of PREDICTIONS rows.

        Raises:
            ValueError: no rows.
        """
        if not rows:
            raise ValueError("no predictions: run `simpleseg stage evaluate` again")
        return cls(
            np.array([row["sample"] for row in rows]),
            np.array([row["kind"] for row in rows]),
            np.array([row["truth_area"] / (row["width"] * row["height"]) for row in rows]),
            *(np.array([row[name] for row in rows], np.float64) for name in _SCORED),
        )

    def __len__(self) -> int:
        return len(self.iou)

    def where(self, chosen: NDArray[np.bool_]) -> "Predictions":
        """The predictions for which `chosen` (n,) holds."""
        return Predictions(*(getattr(self, field.name)[chosen] for field in fields(self)))


_SCORED = [field.name for field in fields(Predictions)][3:]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number about predictions: the mean of values, or the ratio of their sum to that of the weights."""

    name: str
    label: str
    unit: str
    """`%`, `px`, `points` or `tokens`."""
    better: int
    """1: higher is better; -1: lower is; 0: neither."""
    explanation: str
    values: Callable[[Predictions], Values]
    weights: Callable[[Predictions], Values] | None = None
    counted: Callable[[Predictions], NDArray[np.bool_]] | None = None
    """Which predictions take part; unset: all."""
    headline: bool = False
    """Whether the small tables (terminal, Prefect) have a column for it."""

    @property
    def scale(self) -> float:
        """From the mean of values to the unit."""
        return 100.0 if self.unit == "%" else 1.0


def _share(condition: NDArray[np.bool_] | Values) -> Values:
    return np.asarray(condition, np.float64)


def _reached(threshold: float) -> Metric:
    return Metric(
        f"p{round(100 * threshold)}", f"P@{threshold}", "%", 1, f"queries whose mask reaches IoU {threshold}",
        lambda o: _share(o.iou >= threshold),
    )  # fmt: skip


def _box_reached(threshold: float, *, headline: bool = False) -> Metric:
    return Metric(
        f"acc{round(100 * threshold)}", f"Acc@{threshold}", "%", 1,
        f"queries with a target whose box reaches IoU {threshold}",
        lambda o: _share(o.box_iou >= threshold), counted=lambda o: o.targets > 0, headline=headline,
    )  # fmt: skip


_ENTRIES = (
    Metric("giou", "gIoU", "%", 1, "mean IoU of the queries; an empty union counts as 1", lambda o: o.iou,
           headline=True),
    Metric("ciou", "cIoU", "%", 1, "sum of intersections over sum of unions",
           lambda o: o.intersection, lambda o: o.union, headline=True),
    _box_reached(0.5, headline=True),
    _box_reached(0.8),
    *map(_reached, (0.5, 0.6, 0.7, 0.8, 0.9)),
    Metric("boundary_iou", "boundary IoU", "%", 1, "IoU of the bands along the outlines (arXiv 2103.16562)",
           lambda o: o.boundary_iou),
    Metric("boundary_f", "boundary F", "%", 1, "F-score of outline pixels within 0.8% of the diagonal (DAVIS)",
           lambda o: o.boundary_f),
    Metric("chamfer", "Chamfer", "px", -1, "mean distance between the outlines, where both are there",
           lambda o: o.chamfer, counted=lambda o: np.isfinite(o.chamfer)),
    Metric("hausdorff", "Hausdorff", "px", -1, "largest distance between the outlines, where both are there",
           lambda o: o.hausdorff, counted=lambda o: np.isfinite(o.hausdorff)),
    Metric("n_acc", "N-acc", "%", 1, "queries without a target that are answered `[]` (GRES, arXiv 2306.00968)",
           lambda o: o.predicted_empty, counted=lambda o: o.targets == 0),
    Metric("t_acc", "T-acc", "%", 1, "queries with a target that are not answered `[]`",
           lambda o: 1 - o.predicted_empty, counted=lambda o: o.targets > 0),
    Metric("valid", "valid", "%", 1, "answers that parse", lambda o: o.valid, headline=True),
    Metric("points", "points", "points", 0, "mean number of points of an answer", lambda o: o.points),
    Metric("tokens", "tokens", "tokens", 0, "mean length of an answer", lambda o: o.tokens, headline=True),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ENTRIES}
"""In the order in which people read them."""

HEADLINES: dict[str, Metric] = {name: metric for name, metric in METRICS.items() if metric.headline}
