"""Bootstrap intervals cover what they should, and pairing sees what two runs share."""

import numpy as np
import pytest

from simpleseg_core.metrics import bootstrap_interval, paired_bootstrap


def test_the_interval_holds_the_mean_and_shrinks_with_samples() -> None:
    rng = np.random.default_rng(0)
    few, many = bootstrap_interval(rng.random(20)), bootstrap_interval(rng.random(2000))
    assert few.low < few.mean < few.high
    assert many.high - many.low < (few.high - few.low) / 4
    assert many.low == pytest.approx(many.mean - 1.96 * np.sqrt(1 / 12 / 2000), abs=0.004)


def test_the_interval_of_a_ratio_is_that_of_ciou() -> None:
    intersections, unions = np.array([5.0, 50, 500]), np.array([10.0, 60, 900])
    interval = bootstrap_interval(intersections, weights=unions)
    assert interval.mean == pytest.approx(555 / 970)
    assert interval.low >= 0.5
    assert interval.high <= 5 / 6


def test_one_seed_gives_one_interval() -> None:
    values = np.random.default_rng(3).random(50)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_pairing_sees_a_small_but_steady_gain() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(200)
    gain = paired_bootstrap(base + 0.01 + 0.002 * rng.standard_normal(200), base)
    assert gain.mean == pytest.approx(0.01, abs=0.001)
    assert gain.low > 0
    same = paired_bootstrap(base, base)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_a_paired_ratio_is_the_difference_of_ratios() -> None:
    a, b, unions = np.array([1.0, 2, 3]), np.array([1.0, 1, 1]), np.array([4.0, 4, 4])
    assert paired_bootstrap(a, b, weights_a=unions, weights_b=unions).mean == pytest.approx(0.25)


def test_runs_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="same samples"):
        paired_bootstrap([1, 2], [1])
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])
