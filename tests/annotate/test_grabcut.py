"""GrabCut from a box: good on shapes, the same every time, and never without a mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.annotate.grabcut import GrabCutSegmenter
from simpleseg_core.config import RefShapesConfig
from simpleseg_core.refshapes import scene

SEGMENTER = GrabCutSegmenter(5)


def test_shapes_are_cut_out_of_their_boxes() -> None:
    scores = []
    for index in range(15):
        drawn = scene(RefShapesConfig(), 5, "train", index)
        segments = SEGMENTER.segment(drawn.image, [item.box for item in drawn.objects])
        for item, segment in zip(drawn.objects, segments, strict=True):
            scores.append((segment.mask & item.mask).sum() / (segment.mask | item.mask).sum())
    assert np.mean(scores) >= 0.88


def test_the_result_does_not_depend_on_what_was_cut_before() -> None:
    drawn = scene(RefShapesConfig(), 5, "train", 1)
    boxes = [item.box for item in drawn.objects]
    first = SEGMENTER.segment(drawn.image, boxes)
    again = [SEGMENTER.segment(drawn.image, [box])[0] for box in reversed(boxes)][::-1]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), *[st.floats(0, 1)] * 4)
def test_any_box_of_any_image_gives_a_mask_with_scores(seed: int, x: float, y: float, w: float, h: float) -> None:
    image = np.random.default_rng(seed).integers(0, 255, (24, 17, 3), np.uint8) // (1 + 254 * (seed % 2))
    (segment,) = SEGMENTER.segment(image, [(x, y, x + (1 - x) * w, y + (1 - y) * h)])
    assert segment.mask.shape == (24, 17)
    assert segment.mask.any()
    assert 0 <= segment.predicted_iou <= 1
    assert 0 <= segment.stability <= 1


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5)])
def test_where_there_is_no_background_or_no_box_the_confidence_is_low(box: tuple[float, float, float, float]) -> None:
    (segment,) = SEGMENTER.segment(np.full((32, 32, 3), 90, np.uint8), [box])
    assert segment.predicted_iou == pytest.approx(0.1)
    assert segment.stability == 0
