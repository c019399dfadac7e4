"""Boxes that come with the data pass through, crowds and nonsense do not."""

import json

import numpy as np
import pytest

from simpleseg_core.annotate import Detection, Picture
from simpleseg_core.annotate.given import AnnotationsDetector

IMAGE = np.zeros((4, 4, 3), np.uint8)


def _detect(annotations: object, caption: str = "") -> list[Detection]:
    text = annotations if isinstance(annotations, str) else json.dumps(annotations)
    (found,) = AnnotationsDetector().detect([Picture(IMAGE, caption, text)])
    return found


def test_boxes_keep_their_order_and_are_found_in_the_caption() -> None:
    found = _detect(
        [{"phrase": "dog", "box": [0, 0, 0.5, 2]}, {"phrase": "cat", "box": [0.1, 0.2, 0.3, 0.4]}], "A Dog."
    )
    assert found == [
        Detection("dog", (2, 5), (0, 0, 0.5, 1), 1.0),
        Detection("cat", (-1, -1), (0.1, 0.2, 0.3, 0.4), 1.0),
    ]


def test_crowds_are_no_instances() -> None:
    assert _detect([{"phrase": "person", "box": [0, 0, 1, 1], "crowd": True}]) == []


def test_no_annotations_are_no_boxes() -> None:
    assert _detect("") == []


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("{", "not JSON"),
        ({"phrase": "dog"}, "a JSON dict"),
        ([{"phrase": "dog"}], "is not {phrase"),
        ([3], "is not {phrase"),
    ],
)
def test_what_is_no_list_of_boxes_is_refused_with_a_cure(annotations: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _detect(annotations)
