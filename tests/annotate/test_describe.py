"""Descriptions from captions: the phrase, told apart by place or size where others share it."""

from collections.abc import Sequence

import numpy as np

from simpleseg_core.annotate import Annotated, Instance
from simpleseg_core.annotate.describe import CaptionDescriber

IMAGE = np.zeros((40, 40, 3), np.uint8)


def _instance(phrase: str, left: int, top: int, side: int) -> Instance:
    mask = np.zeros((40, 40), bool)
    mask[top : top + side, left : left + side] = True
    return Instance(phrase, (left / 40, top / 40, (left + side) / 40, (top + side) / 40), mask)


def _describe(*instances: Instance, others: Sequence[str] = ()) -> list[tuple[str, str]]:
    (described,) = CaptionDescriber().describe([Annotated(IMAGE, instances, others)])
    return [(item.text, item.source) for item in described]


def test_a_phrase_of_one_instance_is_its_description() -> None:
    assert _describe(_instance("dog", 0, 0, 9), _instance("cat", 20, 20, 9)) == [("dog", "caption"), ("cat", "caption")]


def test_instances_that_share_a_phrase_are_told_apart() -> None:
    assert _describe(_instance("dog", 0, 10, 9), _instance("dog", 25, 10, 9)) == [
        ("leftmost dog", "caption"),
        ("rightmost dog", "caption"),
    ]
    assert _describe(_instance("dog", 10, 10, 6), _instance("dog", 8, 8, 12))[1] == ("biggest dog", "caption")


def test_a_phrase_that_another_phrase_contains_is_not_unique() -> None:
    ((circle, _), (red, _)) = _describe(_instance("circle", 0, 10, 9), _instance("red circle", 25, 10, 9))
    assert (circle, red) == ("leftmost circle", "red circle")


def test_what_cannot_be_told_apart_is_marked() -> None:
    same = [_instance("dog", 10, 10, 9), _instance("dog", 10, 11, 9)]
    assert _describe(*same) == [("dog", "ambiguous")] * 2


def test_what_is_no_instance_takes_its_name_all_the_same() -> None:
    described = _describe(_instance("dog", 0, 10, 9), _instance("cat", 20, 20, 9), others=["black dog"])
    assert described == [("dog", "ambiguous"), ("cat", "caption")]
