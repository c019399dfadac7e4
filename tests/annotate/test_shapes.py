"""The embedded detector finds what RefShapes captions name, and nothing that they do not."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.annotate import CaptionedImage, Detection
from simpleseg_core.annotate.boxes import box_iou
from simpleseg_core.annotate.shapes import ShapeDetector
from simpleseg_core.config import RefShapesConfig
from simpleseg_core.data.shards import encode_jpeg
from simpleseg_core.refshapes import Scene, describe, phrase, scene

DETECTOR = ShapeDetector(0.35)


def _picture(drawn: Scene, caption: str | None = None) -> CaptionedImage:
    """The scene as the web serves it: through JPEG."""
    image = np.asarray(Image.open(BytesIO(encode_jpeg(drawn.image))))
    return CaptionedImage(image, describe(drawn) if caption is None else caption)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(RefShapesConfig(), 3, "train", index) for index in range(60)]


@pytest.fixture(scope="module")
def detections(scenes: list[Scene]) -> list[list[Detection]]:
    return DETECTOR.detect([_picture(drawn) for drawn in scenes])


def test_nearly_every_object_is_found_with_a_tight_box(scenes: list[Scene], detections: list[list[Detection]]) -> None:
    best = [
        max((box_iou(item.box, target.box) for item in found if item.phrase == phrase(target)), default=0.0)
        for drawn, found in zip(scenes, detections, strict=True)
        for target in drawn.objects
    ]
    assert np.mean([iou > 0.5 for iou in best]) >= 0.97
    assert np.mean(best) >= 0.85


def test_there_are_no_more_detections_than_objects(scenes: list[Scene], detections: list[list[Detection]]) -> None:
    for drawn, found in zip(scenes, detections, strict=True):
        assert len(found) <= len(drawn.objects)
        assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


def test_the_span_marks_the_words_of_the_caption(scenes: list[Scene], detections: list[list[Detection]]) -> None:
    for drawn, found in zip(scenes, detections, strict=True):
        for item in found:
            said = describe(drawn)[slice(*item.span)]
            assert item.phrase == said or said.startswith(item.phrase)  # plurals


def test_small_and_big_ones_of_a_kind_are_told_apart() -> None:
    image = np.full((96, 96, 3), 120, np.uint8)
    columns, rows = np.meshgrid(np.arange(96), np.arange(96))
    image[(columns - 25) ** 2 + (rows - 30) ** 2 < 20**2] = (220, 40, 40)
    image[(columns - 75) ** 2 + (rows - 70) ** 2 < 11**2] = (220, 40, 40)
    (found,) = DETECTOR.detect([CaptionedImage(image, "a small red circle and a big red circle")])
    boxes = {item.phrase: item.box for item in found}
    assert boxes["small red circle"][0] > 0.5 > boxes["big red circle"][2]


@pytest.mark.parametrize("caption", ["", "a dog on a bench", "a red circle"])
def test_nothing_is_found_that_is_not_there(caption: str) -> None:
    assert DETECTOR.detect([CaptionedImage(np.full((96, 96, 3), (40, 120, 160), np.uint8), caption)]) == [[]]
