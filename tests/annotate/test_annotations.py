"""Boxes that come with the data pass through, crowds and nonsense do not."""

import json

import numpy as np
import pytest

from simpleseg_core.annotate import CaptionedImage, Detection
from simpleseg_core.annotate.annotations import AnnotationsDetector, phrases_beside

IMAGE = np.zeros((4, 4, 3), np.uint8)


def _detect(annotations: object, caption: str = "") -> list[Detection]:
    text = annotations if isinstance(annotations, str) else json.dumps(annotations)
    (found,) = AnnotationsDetector().detect([CaptionedImage(IMAGE, caption, text)])
    return found


def test_boxes_keep_their_order_and_are_found_in_the_caption() -> None:
    found = _detect(
        [{"phrase": "dog", "box": [0, 0, 0.5, 1.0004]}, {"phrase": "cat", "box": [0.1, 0.2, 0.3, 0.4]}], "A Dog."
    )
    assert found == [
        Detection("dog", (2, 5), (0, 0, 0.5, 1), 1.0),
        Detection("cat", (-1, -1), (0.1, 0.2, 0.3, 0.4), 1.0),
    ]


def test_crowds_are_no_instances() -> None:
    assert _detect([{"phrase": "person", "box": [0, 0, 1, 1], "crowd": True}]) == []
    assert len(_detect([{"phrase": "person", "box": [0, 0, 1, 1], "crowd": "0"}])) == 1


def test_no_annotations_are_no_boxes() -> None:
    assert _detect("") == []


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("{", "not JSON"),
        ({"phrase": "dog"}, "a JSON dict"),
        ([{"phrase": "dog"}], "entry 0 of `boxes` has no `box`"),
        ([3], "entry 0 of `boxes` is 3: it must be an object"),
        ([{"phrase": None, "box": [0, 0, 1, 1]}], "`phrase` of entry 0 of `boxes` is None"),
        ([{"phrase": "", "box": [0, 0, 1, 1]}], "`phrase` of entry 0 of `boxes` is ''"),
        ([{"phrase": "dog", "box": [0, 0, 1]}], "`box` of entry 0 of `boxes` is"),
        ([{"phrase": "dog", "box": [0, 0, 1, None]}], "`box.3` of entry 0 of `boxes` is None"),
        ([{"phrase": "dog", "box": [0, 0, "1", 1]}], "`box.2` of entry 0 of `boxes` is '1'"),
        ([{"phrase": "dog", "box": [False, False, True, True]}], "`box.0` of entry 0 of `boxes` is False"),
        ([{"phrase": "dog", "box": [float("nan"), 0.2, 0.7, 0.7]}], "`box.0` of entry 0 of `boxes` is nan"),
        ([{"phrase": "dog", "box": [56, 26, 144, 94]}], r"\[56.0, .* of `dog` is not in 0..1"),
        ([{"phrase": "dog", "box": [0.2, -0.1, 0.4, 0.4]}], "of `dog` is not in 0..1"),
        ([{"phrase": "dog", "box": [0.7, 0.2, 0.3, 0.9]}], "of `dog` holds nothing"),
        ([{"phrase": "dog", "box": [0.2, 0.9, 0.3, 0.9]}], "of `dog` holds nothing"),
        ([{"phrase": "dog", "box": [0, 0, 1, 1], "crowd": "perhaps"}], "`crowd` of entry 0 of `boxes` is 'perhaps'"),
    ],
)
def test_what_is_no_list_of_boxes_is_refused_with_a_cure(annotations: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _detect(annotations)


def test_what_was_annotated_and_not_kept_is_named_as_often_as_it_is_there() -> None:
    entries = [{"phrase": "dog", "box": [0, 0, 0.5, 1]}] * 3 + [{"phrase": "dog", "box": [0, 0, 0, 0], "crowd": True}]
    assert phrases_beside(["dog", "dog", "ball"], json.dumps(entries)) == ["dog", "dog"]
    assert phrases_beside(["dog"], "") == []
