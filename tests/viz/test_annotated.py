"""Whole images with their instances: sizes, places and names."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.viz import Tagged, draw_annotated

SQUARE = np.array([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)])


def test_only_the_instance_and_its_name_are_painted() -> None:
    grey = np.full((500, 500, 3), 128, np.uint8)
    page = draw_annotated(grey, [Tagged([SQUARE], "square")])
    changed = (page != 128).any(-1)
    assert changed[130:370, 130:370].all()
    assert not changed[:, :115].any()
    assert not changed[385:].any()


def test_instances_get_different_colours() -> None:
    grey = np.full((500, 500, 3), 128, np.uint8)
    left, right = SQUARE * (0.5, 1), SQUARE * (0.5, 1) + (0.5, 0)
    page = draw_annotated(grey, [Tagged([left], "one"), Tagged([right], "two")])
    assert not np.array_equal(page[250, 125], page[250, 375])


def test_small_images_are_enlarged_and_large_ones_shrunk() -> None:
    assert max(draw_annotated(np.zeros((48, 96, 3), np.uint8), []).shape[:2]) == 480
    assert draw_annotated(np.zeros((1000, 4000, 3), np.uint8), []).shape == (400, 1600, 3)


@given(points=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=6), label=st.text(max_size=40))
def test_any_outline_and_any_name_can_be_drawn(points: list[tuple[float, float]], label: str) -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    assert draw_annotated(image, [Tagged([np.array(points)], label)]).shape == (360, 480, 3)
