"""The filters: each rejects what it should, in a fixed order, and nothing is lost without a reason."""

from dataclasses import replace
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simpleseg_core.annotate.filters import REASONS, MaskCandidate, clean, contour_image, funnel
from simpleseg_core.config import ContourConfig
from simpleseg_core.geometry import Region, mask_box

CONFIG = ContourConfig(min_predicted_iou=0.5, min_stability=0.5)


def _square(left: int, top: int, side: int, size: int = 64) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def _candidate(mask: np.ndarray, **changes: object) -> MaskCandidate:
    box = mask_box(mask)
    corners = (0.0, 0.0, 0.0, 0.0) if box is None else tuple(box.tolist())
    return replace(MaskCandidate("dog", corners, 0.9, mask, 0.9, 0.9), **changes)  # type: ignore[arg-type]


GOOD = _candidate(_square(8, 8, 20))


def test_a_good_instance_passes_with_its_outline() -> None:
    (passed,), dropped = contour_image([GOOD], CONFIG)
    assert dropped == {}
    assert passed.roundtrip_iou == pytest.approx(1, abs=0.1)
    assert [len(polygon) for polygon in passed.polygons] == [4]
    assert passed.mask[int(passed.point[1] * 64), int(passed.point[0] * 64)]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (replace(GOOD, score=0.2), "score"),
        (_candidate(_square(0, 0, 2)), "area"),
        (_candidate(_square(0, 0, 64)), "area"),
        (_candidate(np.zeros((64, 64), bool)), "area"),
        (replace(GOOD, box=(0.5, 0.5, 1, 1)), "box"),
        (replace(GOOD, predicted_iou=0.4), "predicted_iou"),
        (replace(GOOD, stability=0.4), "stability"),
        (replace(GOOD, score=0.2, stability=0.1, box=(0.9, 0.9, 1, 1)), "score"),
    ],
)
def test_a_bad_instance_is_dropped_for_the_first_reason_that_applies(candidate: MaskCandidate, reason: str) -> None:
    passed, dropped = contour_image([candidate], CONFIG)
    assert passed == []
    assert dropped == {reason: 1}


def test_of_duplicates_the_best_score_survives() -> None:
    worse = replace(GOOD, phrase="cat", mask=_square(8, 9, 20), score=0.5)
    passed, dropped = contour_image([worse, GOOD], CONFIG)
    assert [item.index for item in passed] == [1]
    assert dropped == {"duplicate": 1}


def test_a_mask_inside_one_of_the_same_phrase_is_a_duplicate_and_of_another_phrase_is_not() -> None:
    nested = _candidate(_square(10, 10, 8), score=0.5)
    assert contour_image([GOOD, nested], CONFIG)[1] == {"duplicate": 1}
    assert len(contour_image([GOOD, replace(nested, phrase="collar")], CONFIG)[0]) == 2


def test_an_outline_too_coarse_for_its_mask_is_dropped() -> None:
    comb = _square(8, 8, 48)
    comb[8:48, 8:56:4] = False
    candidate = _candidate(comb)
    strict = CONFIG.model_copy(update={"max_points": 8, "min_roundtrip_iou": 0.95, "tolerance": 0.0})
    assert contour_image([candidate], strict)[1] == {"cap": 1}
    coarse = CONFIG.model_copy(update={"tolerance": 0.2, "min_roundtrip_iou": 0.99})
    assert contour_image([candidate], coarse)[1] == {"roundtrip": 1}


def test_a_crop_unlike_its_phrase_is_dropped_if_that_is_asked_for() -> None:
    unlike = replace(GOOD, similarity=0.1)
    assert contour_image([unlike], CONFIG)[1] == {}
    strict = CONFIG.model_copy(update={"min_similarity": 0.2})
    assert contour_image([unlike], strict)[1] == {"similarity": 1}
    assert contour_image([replace(GOOD, similarity=0.3)], strict)[1] == {}
    assert contour_image([unlike, replace(unlike, score=0.5)], strict)[1] == {"duplicate": 1, "similarity": 1}
    with pytest.raises(ValueError, match=r"name a CLIP in segment\.clip"):
        contour_image([GOOD], strict)


def test_specks_and_pin_holes_are_cleaned_parts_and_holes_stay() -> None:
    mask = _square(4, 4, 24) | _square(40, 40, 16)
    mask[10:16, 10:16] = False
    dirty = mask.copy()
    dirty[60, 60] = True
    dirty[24, 24] = False
    np.testing.assert_array_equal(clean(dirty), mask)
    assert (Region.from_truth(mask).parts(), Region.from_truth(~mask).parts()) == (2, 2)


def _two_holes() -> np.ndarray:
    """Of 100 pixels; the smaller hole closed, there are 101, and the hole of two is less than a fiftieth."""
    mask = np.ones((12, 10), bool)
    mask[2, 2] = mask[5, 5:7] = False
    mask[10, 3:] = mask[11] = False
    return mask


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(bool, (12, 10)))
@example(_two_holes())
def test_cleaning_is_idempotent_and_never_empties_a_mask(mask: np.ndarray) -> None:
    once = clean(mask)
    assert once.any() == mask.any()
    np.testing.assert_array_equal(clean(once), once)


_score = st.floats(0, 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(hnp.arrays(bool, (12, 10)), _score, _score, _score), max_size=5))
def test_every_instance_passes_or_has_one_reason(items: list[tuple[np.ndarray, float, float, float]]) -> None:
    candidates = [
        _candidate(mask, score=score, predicted_iou=iou, stability=stability) for mask, score, iou, stability in items
    ]
    passed, dropped = contour_image(candidates, CONFIG)
    assert len(passed) + sum(dropped.values()) == len(candidates)
    assert list(dropped) == [reason for reason in REASONS if reason in dropped]
    for item in passed:
        assert item.roundtrip_iou >= CONFIG.min_roundtrip_iou
        assert candidates[item.index].score >= CONFIG.min_score


_shapes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(4, 24), st.sampled_from(["dog", "cat"])), max_size=6
)
LENIENT = ContourConfig(min_area=0.0, min_box_iou=0.0, min_roundtrip_iou=0.0)


def _scored(shapes: list[tuple[int, int, int, str]]) -> list[MaskCandidate]:
    """Squares whose scores all differ."""
    return [
        _candidate(_square(left, top, side), phrase=phrase, score=0.3 + index / 10)
        for index, (left, top, side, phrase) in enumerate(shapes)
    ]


@given(_shapes, st.randoms(use_true_random=False))
def test_the_order_of_instances_changes_nothing(shapes: list[tuple[int, int, int, str]], random: Random) -> None:
    candidates = _scored(shapes)
    shuffled = random.sample(candidates, len(candidates))
    (first, dropped), (second, other) = contour_image(candidates, LENIENT), contour_image(shuffled, LENIENT)
    assert dropped == other
    assert {candidates[item.index].score for item in first} == {shuffled[item.index].score for item in second}


@given(_shapes)
def test_what_is_kept_repeats_nothing_and_is_kept_again(shapes: list[tuple[int, int, int, str]]) -> None:
    candidates = _scored(shapes)
    kept, dropped = contour_image(candidates, LENIENT)
    assert len(kept) + dropped.get("duplicate", 0) == len(candidates)
    for one, other in combinations(kept, 2):
        common, areas = (one.mask & other.mask).sum(), sorted((one.mask.sum(), other.mask.sum()))
        assert common <= LENIENT.duplicate_iou * (sum(areas) - common)
        same = candidates[one.index].phrase == candidates[other.index].phrase
        assert not same or common <= 0.95 * areas[0]
    again = [replace(candidates[item.index], mask=item.mask) for item in kept]
    assert len(contour_image(again, LENIENT)[0]) == len(kept)


@given(_shapes, st.floats(0.3, 1), st.floats(0.3, 1))
def test_a_stricter_score_keeps_some_of_what_a_laxer_one_keeps(
    shapes: list[tuple[int, int, int, str]], one: float, other: float
) -> None:
    candidates = _scored(shapes)
    kept = [
        {item.index for item in contour_image(candidates, LENIENT.model_copy(update={"min_score": bound}))[0]}
        for bound in sorted((one, other))
    ]
    assert kept[1] <= kept[0]


def test_the_funnel_counts_down() -> None:
    rows = funnel(10, {"score": 3, "duplicate": 2})
    assert [row["filter"] for row in rows] == ["detected", *REASONS]
    assert rows[0]["kept"] == 10
    assert rows[1] == {"filter": "score", "dropped": 3, "kept": 7}
    assert rows[-1]["kept"] == 5
