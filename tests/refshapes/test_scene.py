import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import euler_number, label

from simpleseg_core.config import RefShapesConfig
from simpleseg_core.refshapes import SPLITS, Scene, scene
from tests.refshapes.scenes import CONFIG, scenes


def _same(first: Scene, second: Scene) -> bool:
    return (
        np.array_equal(first.image, second.image)
        and all(np.array_equal(a.mask, b.mask) for a, b in zip(first.objects, second.objects, strict=True))
        and [q.expression for q in first.queries] == [q.expression for q in second.queries]
    )


def test_a_scene_depends_on_its_arguments_alone() -> None:
    first = scene(CONFIG, 3, "train", 7)
    scene(CONFIG, 3, "train", 8)
    assert _same(first, scene(CONFIG, 3, "train", 7))


@pytest.mark.parametrize("other", [(4, "train", 7), (3, "val", 7), (3, "train", 8), (3, "train/rl", 7)])
def test_seed_split_and_index_each_change_the_scene(other: tuple[int, str, int]) -> None:
    assert not np.array_equal(scene(CONFIG, 3, "train", 7).image, scene(CONFIG, *other).image)


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_masks_are_disjoint_and_big_enough(drawn: Scene) -> None:
    masks = np.stack([item.mask for item in drawn.objects])
    assert masks.sum(axis=0).max() == 1
    assert masks.mean(axis=(1, 2)).min() >= CONFIG.min_visible
    for item, mask in zip(drawn.objects, masks, strict=True):
        assert item.area == pytest.approx(mask.mean())


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_boxes_are_tight_and_points_lie_inside(drawn: Scene) -> None:
    side = CONFIG.image_size
    for item in drawn.objects:
        rows, columns = np.nonzero(item.mask)
        tight = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.array(item.box) * side == pytest.approx(tight)
        assert item.mask[int(item.point[1] * side), int(item.point[0] * side)]
        assert np.array(item.center) * side == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))


@given(scenes(splits=("testB",)))
@settings(max_examples=150, deadline=None)
def test_parts_and_holes_are_those_of_the_mask(drawn: Scene) -> None:
    for item in drawn.objects:
        parts = int(label(item.mask, connectivity=2).max())
        assert (item.parts, item.holes) == (parts, parts - euler_number(item.mask, connectivity=2))


@pytest.mark.parametrize("side", [48, 64, 224])
def test_parts_and_holes_survive_other_image_sizes(side: int) -> None:
    config = RefShapesConfig(image_size=side)
    items = [item for index in range(60) for item in scene(config, 0, "train", index).objects]
    whole = [item for item in items if not item.occluded]
    for item in whole:
        assert item.mask.shape == (side, side)
        assert label(item.mask, connectivity=2).max() == item.parts
        assert item.parts - euler_number(item.mask, connectivity=2) == item.holes


def test_a_circle_has_the_area_of_a_circle() -> None:
    circles = [
        item for index in range(200) for item in scene(CONFIG, 1, "testA", index).objects if item.shape == "circle"
    ]
    assert len(circles) > 20
    for item in circles:
        assert item.area == pytest.approx(np.pi * item.radius**2, rel=0.03)


@given(scenes())
@settings(max_examples=100, deadline=None)
def test_only_objects_with_something_in_front_are_occluded(drawn: Scene) -> None:
    assert not drawn.objects[-1].occluded
    for item in drawn.objects:
        if item.occluded:
            assert len(drawn.objects) > 1


@given(scenes())
@settings(max_examples=100, deadline=None)
def test_dots_never_meet_circles_or_other_dots(drawn: Scene) -> None:
    round_ones = [item.shape for item in drawn.objects if item.shape in ("circle", "dots")]
    assert "dots" not in round_ones or round_ones == ["dots"]


@given(scenes())
@settings(max_examples=100, deadline=None)
def test_small_and_big_come_together_and_differ_plainly(drawn: Scene) -> None:
    small = [item.radius for item in drawn.objects if item.size == "small"]
    big = [item.radius for item in drawn.objects if item.size == "big"]
    assert bool(small) == bool(big)
    if small:
        assert min(big) >= 1.2 * max(small)


@given(seed=st.integers(0, 2**31), split=st.sampled_from(SPLITS))
@settings(max_examples=30, deadline=None)
def test_crowded_scenes_of_the_largest_shapes_are_still_made(seed: int, split: str) -> None:
    config = RefShapesConfig(min_radius=0.3, max_radius=0.4, max_objects=6)
    drawn = scene(config, seed, split, 0)
    assert drawn.objects
    assert drawn.queries


def test_an_unknown_split_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'testC'.*train/NAME"):
        scene(CONFIG, 0, "testC", 0)
