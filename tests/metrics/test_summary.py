"""Summaries are the plain means and ratios, whoever collected the scores; intervals cover what they should."""

import numpy as np
import pytest

from simpleseg_core.geometry import mask_to_polygons
from simpleseg_core.metrics import MetricAccumulator, SampleScore, bootstrap_interval, paired_bootstrap, score_sample
from tests.geometry.shapes_zoo import blob, disc

NOTHING = np.zeros((48, 64), bool)


def collected(scores: list[SampleScore]) -> MetricAccumulator:
    accumulator = MetricAccumulator()
    for score in scores:
        accumulator.add(score)
    return accumulator


@pytest.fixture(scope="module")
def scores() -> list[SampleScore]:
    pairs = [(blob(seed), blob(seed + seed % 3)) for seed in range(12)]
    answered = [score_sample(mask_to_polygons(a), b, tokens=10 + i) for i, (a, b) in enumerate(pairs)]
    return [*answered, score_sample("[]", NOTHING), score_sample("?", NOTHING), score_sample("[]", blob(1))]


def test_overlaps_are_means_and_ratios(scores: list[SampleScore]) -> None:
    table, ious = collected(scores).summary(), np.array([score.iou for score in scores])
    assert table["samples"] == len(scores)
    assert table["giou"] == pytest.approx(ious.mean())
    assert table["ciou"] == pytest.approx(sum(s.intersection for s in scores) / sum(s.union for s in scores))
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert table[f"p@{threshold}"] == pytest.approx((ious >= threshold).mean())


def test_shares_have_their_own_denominators(scores: list[SampleScore]) -> None:
    table = collected(scores).summary()
    assert table["valid"] == pytest.approx(14 / 15)
    assert table["n_acc"] == pytest.approx(1 / 2)
    assert table["t_acc"] == pytest.approx(12 / 13)
    assert table["tokens"] == pytest.approx(np.mean(range(10, 22)))
    assert table["rec_acc@0.5"] == pytest.approx(np.mean([s.box_iou >= 0.5 for s in scores if not s.truth_empty]))
    assert table["points_per_polygon"] == pytest.approx(sum(s.points for s in scores) / sum(s.parts for s in scores))


def test_workers_merge_to_the_same_table(scores: list[SampleScore]) -> None:
    merged = collected(scores[9:])
    merged.merge(collected(scores[:4]))
    merged.merge(collected(scores[4:9]))
    assert merged.summary() == pytest.approx(collected(scores).summary())


def test_sizes_are_those_of_coco() -> None:
    masks = [disc(200, 200, 100, 100, radius) for radius in (10, 40, 90)]
    table = collected([score_sample(mask_to_polygons(mask), mask) for mask in masks]).summary()
    assert all(table[f"giou/{size}"] > 0.95 for size in ("small", "medium", "large"))
    assert "giou/large" not in collected([score_sample([], masks[0])]).summary()


def test_an_empty_accumulator_has_no_metrics() -> None:
    assert MetricAccumulator().summary() == {"samples": 0}


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
