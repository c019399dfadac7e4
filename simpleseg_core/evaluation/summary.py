"""Metrics of outcomes with bootstrap intervals, differences between models, and breakdowns by kind and size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.evaluation.outcomes import METRICS, Metric, Outcomes
from simpleseg_core.metrics import Interval, bootstrap_interval, paired_bootstrap

Verdict = Literal["better", "worse", "more", "fewer", "unclear"]


@dataclass(frozen=True, slots=True)
class Difference:
    """First model minus second on the same queries, in the metric's unit, with its 95% interval."""

    mean: float
    low: float
    high: float
    verdict: Verdict
    """`unclear` when the interval holds zero."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """gIoU in percent of every model on the parts of a benchmark."""

    parts: tuple[str, ...]
    counts: tuple[int, ...]
    values: dict[str, tuple[float, ...]]
    """Model -> one value for each part."""


def summarise(outcomes: Outcomes, *, samples: int = 2000, seed: int = 0) -> dict[str, Interval]:
    """Every metric that applies, in its unit (percent, tokens), with its 95% bootstrap interval."""
    table = {}
    for name, metric in METRICS.items():
        counted = _counted(metric, outcomes)
        if len(counted):
            found = bootstrap_interval(
                metric.values(counted), weights=_weights(metric, counted), samples=samples, seed=seed
            )
            table[name] = Interval(*(metric.scale * value for value in (found.mean, found.low, found.high)))
    return table


def compare(first: Outcomes, second: Outcomes, *, samples: int = 2000, seed: int = 0) -> dict[str, Difference]:
    """Paired bootstrap of first minus second, for every metric that applies.

    Raises:
        ValueError: the two do not hold the same queries in the same order.
    """
    if not np.array_equal(first.sample, second.sample):
        raise ValueError("the two models answered different queries: run `simpleseg stage evaluate` for both again")
    table = {}
    for name, metric in METRICS.items():
        ours, theirs = _counted(metric, first), _counted(metric, second)
        if len(ours):
            found = paired_bootstrap(
                metric.values(ours),
                metric.values(theirs),
                weights_a=_weights(metric, ours),
                weights_b=_weights(metric, theirs),
                samples=samples,
                seed=seed,
            )
            low, high = metric.scale * found.low, metric.scale * found.high
            table[name] = Difference(metric.scale * found.mean, low, high, _verdict(metric, low, high))
    return table


def by_kind(models: Mapping[str, Outcomes]) -> Breakdown:
    """gIoU by kind of query, the most frequent kind first."""
    kinds = next(iter(models.values())).kind
    names, counts = np.unique(kinds, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return _breakdown(models, {str(names[i]): kinds == names[i] for i in order})


def by_size(models: Mapping[str, Outcomes]) -> Breakdown:
    """gIoU by size of the true mask: the thirds of the queries that have a target.

    Thirds, for the pixel limits of COCO mean nothing on small images.
    """
    outcomes = next(iter(models.values()))
    present = outcomes.area > 0
    if not present.any():
        return Breakdown((), (), dict.fromkeys(models, ()))
    low, high = np.quantile(outcomes.area[present], [1 / 3, 2 / 3])
    parts = {
        f"small (under {low:.1%})": present & (outcomes.area < low),
        f"medium ({low:.1%} to {high:.1%})": present & (outcomes.area >= low) & (outcomes.area < high),
        f"large (from {high:.1%} of the image)": present & (outcomes.area >= high),
    }
    return _breakdown(models, {name: chosen for name, chosen in parts.items() if chosen.any()})


def _breakdown(models: Mapping[str, Outcomes], parts: Mapping[str, NDArray[np.bool_]]) -> Breakdown:
    values = {
        model: tuple(100 * float(outcomes.iou[chosen].mean()) for chosen in parts.values())
        for model, outcomes in models.items()
    }
    return Breakdown(tuple(parts), tuple(int(chosen.sum()) for chosen in parts.values()), values)


def _counted(metric: Metric, outcomes: Outcomes) -> Outcomes:
    return outcomes if metric.counted is None else outcomes.where(metric.counted(outcomes))


def _weights(metric: Metric, outcomes: Outcomes) -> NDArray[np.float64] | None:
    return None if metric.weights is None else metric.weights(outcomes)


def _verdict(metric: Metric, low: float, high: float) -> Verdict:
    if low <= 0 <= high:
        return "unclear"
    if metric.better:
        return "better" if low > 0 else "worse"
    return "more" if low > 0 else "fewer"
