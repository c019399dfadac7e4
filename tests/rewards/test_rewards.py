"""Rewards lie in [0, 1], favour the better answer, and cannot be gamed by the known tricks."""

import multiprocessing
import os
import pickle
import signal
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.geometry import Rle, encode_rle, mask_to_polygons
from simpleseg_core.grammar import format_polygons
from simpleseg_core.rewards import RewardBatch, RewardFunction

ALL = {"iou": 1.0, "distance": 1.0, "format": 1.0, "length": 1.0, "boundary": 1.0, "parts": 1.0}
SIDE = 64


def square(left: int, top: int, size: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + size, left : left + size] = True
    return mask


OBJECT = square(8, 8, 24)
TRUTH = encode_rle(OBJECT)
EMPTY = encode_rle(np.zeros((SIDE, SIDE), bool))
RIGHT = format_polygons(mask_to_polygons(OBJECT))
WHOLE_IMAGE = "[[[0,0],[1000,0],[1000,1000],[0,1000]]]"


def rewards(weights: dict[str, float] | None = None, **options: Any) -> RewardFunction:
    return function_of(RewardConfig.model_validate({"weights": weights or ALL, **options}).model_dump_json())


@cache
def function_of(config: str) -> RewardFunction:
    """Tests share processes, which take a while to start."""
    return RewardFunction(RewardConfig.model_validate_json(config))


def score(text: str, truth: Rle = TRUTH, **options: Any) -> RewardBatch:
    return rewards(**options)([text], [truth])


def test_the_right_answer_earns_everything_but_its_length() -> None:
    batch = score(RIGHT)
    assert all(value == 1 for name, (value,) in batch.terms.items() if name != "length")
    assert 0.9 < batch.terms["length"][0] < 1
    assert batch.failed == 0


def test_the_total_is_the_weighted_mean_of_the_terms() -> None:
    weights = {"iou": 3.0, "distance": 1.0, "format": 0.5, "length": 0.0, "boundary": 0.0, "parts": 0.0}
    batch = score(format_polygons(mask_to_polygons(square(12, 10, 24))), weights=weights)
    assert set(batch.terms) == {"iou", "distance", "format"}
    assert batch.total[0] == pytest.approx(sum(weights[name] * v[0] for name, v in batch.terms.items()) / 4.5)


def test_closer_answers_earn_more() -> None:
    shifts = [format_polygons(mask_to_polygons(square(8 + shift, 8, 24))) for shift in (0, 3, 6, 12, 30)]
    batch = rewards()(shifts, [TRUTH] * len(shifts))
    for name in ("iou", "distance", "boundary"):
        assert np.all(np.diff(batch.terms[name]) <= 0)
    assert np.all(np.diff(batch.total) < 0)


def test_the_distance_is_the_squared_error_of_the_centroids() -> None:
    ours, theirs = square(0, 0, 10), square(16, 32, 10)
    batch = score(format_polygons(mask_to_polygons(ours, tolerance=0), style="unit"), encode_rle(theirs), style="unit")
    assert batch.terms["distance"][0] == pytest.approx(1 - (0.25**2 + 0.5**2) / 2)


@pytest.mark.parametrize("text", ["[]", "nothing: []"])
def test_saying_nothing_is_right_where_nothing_is(text: str) -> None:
    there, absent = score(text, TRUTH), score(text, EMPTY)
    assert all(absent.terms[name][0] == 1 for name in ("iou", "distance", "length", "boundary", "parts"))
    assert all(there.terms[name][0] == 0 for name in ("iou", "distance", "length", "boundary", "parts"))
    assert absent.terms["format"][0] == float(text == "[]")


def test_drawing_where_nothing_is_earns_its_format_alone() -> None:
    batch = score(RIGHT, EMPTY)
    assert {name for name, (value,) in batch.terms.items() if value} == {"format"}


def test_unreadable_answers_are_worth_nothing_and_are_no_failures() -> None:
    batch = rewards()(["", "the dog", "[[["], [TRUTH, TRUTH, EMPTY])
    assert not batch.total.any()
    assert batch.failed == 0


def test_the_whole_image_is_a_poor_answer() -> None:
    batch = score(WHOLE_IMAGE)
    assert batch.terms["iou"][0] < 0.2
    assert batch.terms["distance"][0] == 0
    assert batch.total[0] < score(format_polygons(mask_to_polygons(square(14, 12, 24)))).total[0]


def test_hundreds_of_points_are_worth_nothing() -> None:
    dense = mask_to_polygons(OBJECT, tolerance=0)[0]
    many = np.repeat(dense, 100, axis=0)
    assert score(format_polygons([many])).total[0] == 0
    assert score(format_polygons([dense] * 40)).total[0] == 0


def test_crossing_oneself_inflates_nothing_and_costs_the_format() -> None:
    twice_around = format_polygons([np.tile(mask_to_polygons(OBJECT)[0], (2, 1))])
    assert score(twice_around).terms["iou"][0] == 0
    bow_tie = "[[[125,125],[500,500],[500,125],[125,500]]]"
    assert score(bow_tie).terms["iou"][0] < 0.6
    assert score(bow_tie).terms["format"][0] == 0


def test_overlapping_parts_count_once_and_cost_the_format() -> None:
    (polygon,) = mask_to_polygons(OBJECT)
    batch = score(format_polygons([polygon, polygon, polygon]))
    assert batch.terms["iou"][0] == 1
    assert batch.terms["format"][0] == 0
    assert batch.terms["parts"][0] == pytest.approx(1 / 3)


def test_bridged_holes_and_separate_parts_keep_the_format() -> None:
    mask = square(4, 4, 30)
    mask[12:20, 12:20] = False
    mask[44:58, 44:58] = True
    batch = score(format_polygons(mask_to_polygons(mask)), encode_rle(mask))
    assert batch.terms["format"][0] == batch.terms["parts"][0] == 1


def test_the_style_asked_for_is_the_one_rewarded() -> None:
    unit = format_polygons(mask_to_polygons(OBJECT), style="unit")
    assert score(unit).terms["format"][0] == 0
    assert score(unit).terms["iou"][0] == 1
    assert score(unit, style="unit").terms["format"][0] == 1


def test_a_broken_truth_is_counted_not_raised() -> None:
    batch = rewards()([RIGHT, RIGHT], [{"size": [SIDE, SIDE], "counts": "nonsense"}, TRUTH])
    assert batch.failed == 1
    assert batch.total[0] == 0 < batch.total[1]


def test_a_worker_that_hangs_costs_its_own_answer_only() -> None:
    """A stopped process is a hang that no exception ends."""
    function = rewards(item_timeout_s=0.5)
    others = set(multiprocessing.active_children())
    assert function([RIGHT], [TRUTH]).failed == 0
    (worker,) = set(multiprocessing.active_children()) - others
    os.kill(worker.pid or 0, signal.SIGSTOP)
    batch = function([RIGHT] * 4, [TRUTH] * 4)
    assert (batch.total > 0.9).tolist() == [False, True, True, True]
    assert (batch.failed, batch.replaced) == (1, 1)
    after = function([RIGHT], [TRUTH])
    assert (after.failed, after.replaced) == (0, 0)


def test_a_truncated_answer_does_not_pay() -> None:
    batch = rewards()([RIGHT, RIGHT[:-1], RIGHT[:-1], RIGHT], [TRUTH] * 4, [True, True, False, False])
    assert (batch.total > 0).tolist() == [True, True, False, False]
    assert batch.failed == 0


def test_the_number_of_processes_changes_nothing() -> None:
    texts = [format_polygons(mask_to_polygons(square(k, k, 20 + k))) for k in range(12)]
    one, four = (rewards(workers=workers)(texts, [TRUTH] * 12) for workers in (1, 4))
    assert np.array_equal(one.total, four.total)


def test_a_reward_function_travels_to_workers() -> None:
    assert pickle.loads(pickle.dumps(rewards()))([RIGHT], [TRUTH]).total[0] > 0.9


def test_every_answer_needs_its_truth() -> None:
    with pytest.raises(ValueError, match="2 answers but 1"):
        rewards()([RIGHT, RIGHT], [TRUTH])
    with pytest.raises(ValueError, match="1 ends"):
        rewards()([RIGHT, RIGHT], [TRUTH, TRUTH], [True])


def test_weights_that_count_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="all zero"):
        rewards(dict.fromkeys(ALL, 0.0))


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("[]0123456789,", max_size=90)), st.booleans())
def test_any_answer_earns_between_nothing_and_everything(text: str, there: bool) -> None:
    batch = FUNCTION([text], [TRUTH if there else EMPTY])
    assert batch.failed == 0
    assert all(0 <= value[0] <= 1 for value in (batch.total, *batch.terms.values()))


FUNCTION = rewards()


def test_zeros_and_ones_are_read_in_the_style_asked_for() -> None:
    whole = encode_rle(np.ones((8, 8), bool))
    text = "[[[0,0],[1,0],[1,1],[0,1]]]"
    assert rewards(style="unit")([text], [whole]).terms["iou"][0] == 1
    assert rewards(style="permille")([text], [whole]).terms["iou"][0] == 0
