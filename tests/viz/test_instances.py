"""Pictures of instances: what is drawn where, and what a sheet needs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simpleseg_core.viz import PREDICTION_COLOUR, InstanceView, draw_instance, instance_sheet

CAPTION = 40


def view(height: int = 60, width: int = 80) -> InstanceView:
    mask = np.zeros((height, width), bool)
    mask[20:40, 30:50] = True
    corners = np.array([(30, 20), (50, 20), (50, 40), (30, 40)]) / (width, height)
    box = [25 / width, 15 / height, 55 / width, 45 / height]
    return InstanceView(np.full((height, width, 3), 128, np.uint8), mask, [corners], box, "a grey square", "score 0.5")


def test_the_polygon_is_drawn_where_the_mask_ends() -> None:
    shown = view()
    page = draw_instance(shown, side=600)[CAPTION:]
    drawn = np.argwhere((page == PREDICTION_COLOUR).all(-1))
    filled = np.argwhere((page[:, :, 2] > page[:, :, 0] + 20) & (page[:, :, 1] > page[:, :, 0]))
    assert len(drawn) and len(filled)
    # Within the width of a line, the frame that was drawn is the frame of what is filled.
    assert np.abs(drawn.min(0) - filled.min(0)).max() <= 4
    assert np.abs(drawn.max(0) - filled.max(0)).max() <= 4


def test_the_picture_shows_the_instance_and_its_surroundings_not_the_whole_image() -> None:
    image = np.zeros((1000, 1000, 3), np.uint8)
    image[:, 900:] = (9, 99, 9)  # far away
    mask = np.zeros((1000, 1000), bool)
    mask[400:440, 400:440] = True
    page = draw_instance(replace(view(), image=image, mask=mask, polygons=[], box=[0.4, 0.4, 0.44, 0.44]))
    assert not (page == (9, 99, 9)).all(-1).any()


@given(
    box=st.tuples(*[st.floats(0, 1)] * 4).map(
        lambda v: [min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])]
    ),
    empty=st.booleans(),
    side=st.integers(16, 200),
)
@example(box=[1.0, 1.0, 1.0, 1.0], empty=True, side=16)
def test_every_picture_has_the_same_size_whatever_the_box(box: list[float], empty: bool, side: int) -> None:
    shown = view()
    mask = np.zeros_like(shown.mask) if empty else shown.mask
    assert draw_instance(replace(shown, box=box, mask=mask), side=side).shape == (side + CAPTION, side, 3)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="decode both at the same size"):
        draw_instance(replace(view(), mask=np.zeros((3, 3), bool)))


def test_a_sheet_leaves_empty_sections_out_and_needs_one_instance() -> None:
    one = instance_sheet("shard", {"worst": [view()], "random": []})
    two = instance_sheet("shard", {"worst": [view()], "random": [view()]})
    assert one.shape[0] < two.shape[0]
    with pytest.raises(ValueError, match="at least one instance"):
        instance_sheet("shard", {"worst": []})
