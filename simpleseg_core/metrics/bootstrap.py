"""Bootstrap: intervals of a metric, and the difference of two runs on the same samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """a minus b on the same samples, with its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: ArrayLike, *, weights: ArrayLike | None = None, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of the mean of values (n,); with `weights` (n,) of the ratio sum(values) / sum(weights),
    which is cIoU for intersections and unions.

    Raises:
        ValueError: no values.
    """
    numerators = _values(values)
    denominators = np.ones_like(numerators) if weights is None else _values(weights)
    draws = _draws(len(numerators), samples, seed)
    low, high = _percentiles(_ratio(draws @ numerators, draws @ denominators), confidence)
    return Interval(float(_ratio(numerators.sum(), denominators.sum())), low, high)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    weights_a: ArrayLike | None = None,
    weights_b: ArrayLike | None = None,
    samples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Percentile interval of mean(a) - mean(b) over the same samples (n,), drawn together; with weights of the
    difference of ratios, as in `bootstrap_interval`."""
    first, second = _values(a), _values(b)
    if len(first) != len(second):
        raise ValueError(f"paired runs need the same samples: {len(first)} and {len(second)} values")
    over_a = np.ones_like(first) if weights_a is None else _values(weights_a)
    over_b = np.ones_like(second) if weights_b is None else _values(weights_b)
    draws = _draws(len(first), samples, seed)
    difference = _ratio(draws @ first, draws @ over_a) - _ratio(draws @ second, draws @ over_b)
    low, high = _percentiles(difference, confidence)
    mean = _ratio(first.sum(), over_a.sum()) - _ratio(second.sum(), over_b.sum())
    return PairedDifference(float(mean), low, high)


def _values(values: ArrayLike | Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64).ravel()
    if not len(array):
        raise ValueError("no values to bootstrap: the run has no samples")
    return array


@lru_cache(maxsize=3)
def _draws(n: int, samples: int, seed: int) -> NDArray[np.float64]:
    """How often each of n values is drawn, in each resample: (samples, n).

    Kept, for drawing takes longer than all else and the metrics of a benchmark ask for the same ones.
    """
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=samples).astype(np.float64)
    draws.flags.writeable = False
    return draws


def _ratio(numerator: NDArray[np.float64] | float, denominator: NDArray[np.float64] | float) -> NDArray[np.float64]:
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 1.0)


def _percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
