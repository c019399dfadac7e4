"""No training image shows what any split held out shows: by key over all sets, and by perceptual hash."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.instructions.labels import LabelledImage, Labels
from simpleseg_core.instructions.leakage import LeakageFilter

HASHES = st.integers(0, 2**64 - 1)


def _image(key: str, phash: int | None, source: str = "refcoco") -> LabelledImage:
    text = "" if phash is None else f"{phash:016x}"
    return LabelledImage(key, "images/0.tar", 8, 8, text, source, Labels([], []), shared=True)


def _filter(drop: bool = True) -> LeakageFilter:
    leakage = LeakageFilter(drop=drop)
    val, test = [_image("1", 0xFF00FF00)], [_image("2", 0x1234567800000000), _image("3", None)]
    assert list(leakage.remember(val, "refcoco/val")) == val
    assert list(leakage.remember(test, "refcocog/test")) == test
    return leakage


TRAIN = [
    _image("1", 0xFF00FF00, "refcoco+"),
    _image("copy", 0xFF00FF00 ^ 0b1111, "refcoco+"),
    _image("other", 0xFF00FF00 ^ 0b11111, "refcoco+"),
    _image("2", None, "refcoco"),
    _image("3", 77, "refcoco"),
    _image("2", None, "grefcoco"),
    _image("new", None, "refcoco"),
]


def test_images_of_any_split_are_dropped_and_accounted_for_by_source() -> None:
    leakage = _filter()
    assert [item.image for item in leakage.keep(TRAIN)] == ["other", "new"]
    assert leakage.found == {"key": 4, "phash": 1}
    assert leakage.rows() == [
        {"source": "grefcoco", "split": "refcocog/test", "by": "key", "images": 1, "training": "dropped"},
        {"source": "refcoco", "split": "refcocog/test", "by": "key", "images": 2, "training": "dropped"},
        {"source": "refcoco+", "split": "refcoco/val", "by": "key", "images": 1, "training": "dropped"},
        {"source": "refcoco+", "split": "refcoco/val", "by": "phash", "images": 1, "training": "dropped"},
    ]


def test_an_image_that_serves_two_uses_is_counted_once() -> None:
    leakage = _filter()
    assert list(leakage.keep(TRAIN)) == list(leakage.keep(TRAIN))
    assert sum(leakage.found.values()) == 5


def test_the_published_composition_keeps_the_leaks_and_counts_the_same() -> None:
    leakage = _filter(drop=False)
    assert list(leakage.keep(TRAIN)) == TRAIN
    assert leakage.found == {"key": 4, "phash": 1}
    assert {row["training"] for row in leakage.rows()} == {"kept"}


@given(st.lists(HASHES, max_size=20), HASHES, st.lists(st.integers(0, 63), unique=True, max_size=12))
def test_hashes_leak_exactly_within_four_bits_of_any_that_is_held_out(
    held: list[int], base: int, flips: list[int]
) -> None:
    leakage = LeakageFilter()
    list(leakage.remember([_image(str(i), each) for i, each in enumerate([base, *held])], "a/val"))
    near = base
    for bit in flips:
        near ^= 1 << bit
    expected = min((near ^ each).bit_count() for each in [base, *held]) <= 4
    assert bool(list(leakage.keep([_image("train", near)]))) != expected


@pytest.mark.parametrize("first", [0, 1])
def test_splits_remembered_later_count_too(first: int) -> None:
    leakage, items = LeakageFilter(), [_image("a", 0), _image("b", 2**40 - 1)]
    list(leakage.remember(items[first : first + 1], "x/val"))
    other = items[1 - first]
    assert list(leakage.keep([other])) == [other]
    list(leakage.remember([other], "x/test"))
    assert not list(leakage.keep([replace(other, image="copy")]))
