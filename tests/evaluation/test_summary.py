"""Summaries, differences and breakdowns, against what can be computed by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.evaluation import by_kind, by_size, compare, summarise
from simpleseg_core.metrics import METRICS, Predictions


def make_row(index: int, iou: float, side: int = 4, **changes: Any) -> dict[str, Any]:
    """A PREDICTIONS row whose true mask is a square of `side` pixels in an image of 10 x 10."""
    row = {
        "sample": str(index), "kind": "attribute", "targets": int(side > 0), "width": 10, "height": 10,
        "truth_area": side**2, "iou": iou, "intersection": int(100 * iou), "union": 100, "box_iou": iou,
        "boundary_iou": iou, "boundary_f": iou, "chamfer": 1.0, "hausdorff": 2.0, "valid": True,
        "predicted_empty": False, "points": 8, "tokens": 40,
    }  # fmt: skip
    return row | changes


def predictions(*ious: float) -> Predictions:
    return Predictions.from_rows([make_row(index, iou) for index, iou in enumerate(ious)])


def test_metrics_are_in_their_unit() -> None:
    rows = [
        make_row(0, 1.0, intersection=10, union=10),
        make_row(1, 0.2, intersection=20, union=100, tokens=60),
        make_row(2, 0.0, side=0, valid=False, intersection=0, union=90),
    ]
    found = summarise(Predictions.from_rows(rows), samples=200)
    assert found["giou"].mean == pytest.approx(40)
    assert found["ciou"].mean == pytest.approx(100 * 30 / 200)
    assert found["acc50"].mean == pytest.approx(50), "queries without a target have no box"
    assert found["valid"].mean == pytest.approx(200 / 3)
    assert found["tokens"].mean == pytest.approx(140 / 3)


def test_a_metric_that_no_query_asks_for_is_left_out() -> None:
    found = summarise(Predictions.from_rows([make_row(0, 1.0, side=0)]), samples=100)
    assert set(METRICS) - set(found) == {"acc50", "acc80", "t_acc"}


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(0, 5))
def test_values_and_intervals_lie_between_the_worst_and_the_best_query(ious: list[float], seed: int) -> None:
    found = summarise(predictions(*ious), samples=100, seed=seed)["giou"]
    assert found.mean == pytest.approx(100 * sum(ious) / len(ious))
    assert 100 * min(ious) - 1e-9 <= found.low <= found.high <= 100 * max(ious) + 1e-9


def test_a_gain_on_every_query_is_a_clear_difference() -> None:
    noise = np.random.default_rng(0).uniform(0, 0.8, 60)
    found = compare(predictions(*(noise + 0.1)), predictions(*noise), samples=300)["giou"]
    assert found.mean == pytest.approx(10)
    assert found.low == pytest.approx(10), "pairing removes what both models share"
    assert found.verdict == "better"


def test_verdicts() -> None:
    good, bad = predictions(*[0.9, 0.8] * 20), predictions(*[0.2, 0.3] * 20)
    assert compare(bad, good, samples=300)["giou"].verdict == "worse"
    assert compare(good, good, samples=300)["giou"].verdict == "unclear"
    chatty = replace(good, tokens=good.tokens + 5)
    assert compare(chatty, good, samples=300)["tokens"].verdict == "more"
    assert compare(good, chatty, samples=300)["tokens"].verdict == "fewer"
    farther = replace(good, hausdorff=good.hausdorff + 5)
    assert compare(farther, good, samples=300)["hausdorff"].verdict == "worse", "of a distance, less is better"


def test_a_distance_is_compared_where_both_models_have_one() -> None:
    good, bad = predictions(0.9, 0.8, 0.7), predictions(0.2, 0.3, 0.1)
    first = replace(good, chamfer=np.array([1.0, np.nan, 3.0]))
    second = replace(bad, chamfer=np.array([2.0, 9.0, np.nan]))
    found = compare(first, second, samples=50)["chamfer"]
    assert (found.mean, found.verdict) == (-1.0, "better")


def test_models_that_answered_different_queries_are_not_compared() -> None:
    ours = predictions(0.1, 0.2)
    with pytest.raises(ValueError, match="different queries"):
        compare(ours, replace(ours, sample=ours.sample[::-1]))


def test_kinds_are_listed_by_frequency_with_their_own_mean() -> None:
    rows = [make_row(0, 0.2, kind="size"), make_row(1, 0.5, kind="attribute"), make_row(2, 0.7, kind="attribute")]
    found = by_kind({"sft": Predictions.from_rows(rows)})
    assert found.parts == ("attribute", "size")
    assert found.counts == (2, 1)
    assert found.values["sft"] == pytest.approx((60, 20))


def test_sizes_share_out_the_queries_that_have_a_target() -> None:
    rows = [make_row(index, index / 10, side=index) for index in range(10)]
    found = by_size({"sft": Predictions.from_rows(rows)})
    assert found.counts == (3, 3, 3)
    assert found.values["sft"] == pytest.approx((20, 50, 80))


def test_no_target_at_all_has_no_sizes() -> None:
    assert by_size({"sft": Predictions.from_rows([make_row(0, 1, side=0)])}).parts == ()


def test_outcomes_need_rows() -> None:
    with pytest.raises(ValueError, match="no predictions"):
        Predictions.from_rows([])
