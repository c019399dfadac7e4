"""Metrics of predictions with bootstrap intervals, differences between models, and breakdowns by kind and size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.metrics import METRICS, Interval, Metric, Predictions, bootstrap_interval, paired_bootstrap

Verdict = Literal["better", "worse", "more", "fewer", "unclear"]
Chosen = NDArray[np.bool_]


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


def summarise(predictions: Predictions, *, samples: int = 2000, seed: int = 0) -> dict[str, Interval]:
    """Every metric that applies, in its unit (percent, pixels, tokens), with its 95% bootstrap interval."""
    table = {}
    for name, metric in METRICS.items():
        counted = predictions.where(_counted(metric, predictions))
        if len(counted):
            found = bootstrap_interval(
                metric.values(counted), weights=_weights(metric, counted), samples=samples, seed=seed
            )
            table[name] = Interval(*(metric.scale * value for value in (found.mean, found.low, found.high)))
    return table


def compare(first: Predictions, second: Predictions, *, samples: int = 2000, seed: int = 0) -> dict[str, Difference]:
    """Paired bootstrap of first minus second, for every metric that applies.

    Raises:
        ValueError: the two do not hold the same queries in the same order.
    """
    if not np.array_equal(first.sample, second.sample):
        raise ValueError("the two models answered different queries: run `simpleseg stage evaluate` for both again")
    table = {}
    for name, metric in METRICS.items():
        chosen = _counted(metric, first) & _counted(metric, second)
        if chosen.any():
            ours, theirs = first.where(chosen), second.where(chosen)
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


def by_kind(models: Mapping[str, Predictions]) -> Breakdown:
    """gIoU by kind of query, the most frequent kind first."""
    return _breakdown(models, kinds_of(next(iter(models.values()))))


def by_size(models: Mapping[str, Predictions]) -> Breakdown:
    """gIoU by size of the true mask."""
    return _breakdown(models, sizes_of(next(iter(models.values()))))


def kinds_of(predictions: Predictions) -> dict[str, Chosen]:
    """Kind of query -> which predictions (n,) are of it, the most frequent kind first."""
    names, counts = np.unique(predictions.kind, return_counts=True)
    return {str(names[i]): predictions.kind == names[i] for i in np.argsort(-counts, kind="stable")}


def sizes_of(predictions: Predictions) -> dict[str, Chosen]:
    """Size of the true mask -> which predictions (n,) are of it: the thirds of the queries that have a target.

    Thirds, for the pixel limits of COCO mean nothing on small images.
    """
    present = predictions.area > 0
    if not present.any():
        return {}
    low, high = np.quantile(predictions.area[present], [1 / 3, 2 / 3])
    parts = {
        f"small (under {low:.1%})": present & (predictions.area < low),
        f"medium ({low:.1%} to {high:.1%})": present & (predictions.area >= low) & (predictions.area < high),
        f"large (from {high:.1%} of the image)": present & (predictions.area >= high),
    }
    return {name: chosen for name, chosen in parts.items() if chosen.any()}


def _breakdown(models: Mapping[str, Predictions], parts: Mapping[str, Chosen]) -> Breakdown:
    values = {
        model: tuple(100 * float(predictions.iou[chosen].mean()) for chosen in parts.values())
        for model, predictions in models.items()
    }
    return Breakdown(tuple(parts), tuple(int(chosen.sum()) for chosen in parts.values()), values)


def _counted(metric: Metric, predictions: Predictions) -> Chosen:
    return np.ones(len(predictions), bool) if metric.counted is None else metric.counted(predictions)


def _weights(metric: Metric, predictions: Predictions) -> NDArray[np.float64] | None:
    return None if metric.weights is None else metric.weights(predictions)


def _verdict(metric: Metric, low: float, high: float) -> Verdict:
    if low <= 0 <= high:
        return "unclear"
    more = low > 0
    if metric.better:
        return "better" if more == (metric.better > 0) else "worse"
    return "more" if more else "fewer"
