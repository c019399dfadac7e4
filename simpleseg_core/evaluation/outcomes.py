"""What a model scored on a benchmark, as columns, and the metrics that read them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.data.outlines import row_mask

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Predictions of one model on one benchmark, column by column (n,), in the order of the benchmark."""

    sample: NDArray[np.str_]
    kind: NDArray[np.str_]
    targets: Values
    """Objects that the query means; 0 where the right answer is `[]`."""
    area: Values
    """Of the true mask, as a share of the image."""
    iou: Values
    intersection: Values
    union: Values
    """Pixels, like the intersection."""
    box_iou: Values
    valid: Values
    tokens: Values

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Outcomes":
        """Columns of PREDICTIONS rows.

        Raises:
            ValueError: no rows.
        """
        if not rows:
            raise ValueError("no predictions: run `simpleseg stage evaluate` again")
        return cls(
            sample=np.array([row["sample"] for row in rows]),
            kind=np.array([row["kind"] for row in rows]),
            area=np.array([row_mask(row).mean() for row in rows]),
            targets=_numbers(rows, "targets"),
            iou=_numbers(rows, "iou"),
            intersection=_numbers(rows, "intersection"),
            union=_numbers(rows, "union"),
            box_iou=_numbers(rows, "box_iou"),
            valid=_numbers(rows, "valid"),
            tokens=_numbers(rows, "tokens"),
        )

    def __len__(self) -> int:
        return len(self.iou)

    def where(self, chosen: NDArray[np.bool_]) -> "Outcomes":
        """The predictions for which `chosen` (n,) holds."""
        return Outcomes(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> Values:
    return np.array([row[name] for row in rows], np.float64)


@dataclass(frozen=True, slots=True)
class Metric:
    """A number about outcomes: the mean of values, or the ratio of their sum to that of the weights."""

    name: str
    label: str
    unit: str
    """`%` or `tokens`."""
    scale: float
    explanation: str
    better: int
    """1: higher is better; 0: neither is."""
    values: Callable[[Outcomes], Values]
    weights: Callable[[Outcomes], Values] | None = None
    counted: Callable[[Outcomes], NDArray[np.bool_]] | None = None
    """Which outcomes take part; unset: all."""


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("giou", "gIoU", "%", 100, "mean IoU of the queries; an empty union counts as 1", 1, lambda o: o.iou),
        Metric(
            "ciou", "cIoU", "%", 100, "sum of intersections over sum of unions", 1,
            lambda o: o.intersection, lambda o: o.union,
        ),
        Metric(
            "acc50", "Acc@0.5", "%", 100, "queries with a target whose box reaches IoU 0.5", 1,
            lambda o: (o.box_iou >= 0.5).astype(np.float64), counted=lambda o: o.targets > 0,
        ),
        Metric("valid", "valid", "%", 100, "answers that parse", 1, lambda o: o.valid),
        Metric("tokens", "tokens", "tokens", 1, "mean length of an answer", 0, lambda o: o.tokens),
    )
}  # fmt: skip
"""In the order of the stage table."""
