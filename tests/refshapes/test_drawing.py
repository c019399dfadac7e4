from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from simpleseg_core.config import RefShapesConfig
from simpleseg_core.refshapes import MIN_CONTRAST, PALETTE, Scene, scene
from tests.refshapes.scenes import scenes

_JITTER = 10 + 0.5


def _colors(drawn: Scene) -> list[NDArray[np.float64]]:
    """The colour well inside each object."""
    side = drawn.image.shape[0]
    points = [(int(item.point[1] * side), int(item.point[0] * side)) for item in drawn.objects]
    return [drawn.image[point].astype(np.float64) for point in points]


def _background(drawn: Scene) -> NDArray[np.float64]:
    """Pixels (N, 3) that no object touches, not even with its smooth edge."""
    covered = np.logical_or.reduce([item.mask for item in drawn.objects]).astype(np.uint8)
    return drawn.image[cv2.dilate(covered, np.ones((5, 5), np.uint8)) == 0].astype(float)


def _nearest(drawn: Scene) -> float:
    pixels = _background(drawn)
    colors = [*_colors(drawn), *(np.array(PALETTE[item.color]) for item in drawn.objects)]
    return min(float(np.linalg.norm(pixels - color, axis=1).min()) for color in colors)


@given(scenes())
@settings(max_examples=120, deadline=None)
def test_objects_have_the_colour_they_are_called_by(drawn: Scene) -> None:
    for item, color in zip(drawn.objects, _colors(drawn), strict=True):
        assert np.abs(color - PALETTE[item.color]).max() <= _JITTER


@given(scenes())
@settings(max_examples=120, deadline=None)
def test_masks_cover_the_pixels_of_their_object(drawn: Scene) -> None:
    for item, color in zip(drawn.objects, _colors(drawn), strict=True):
        inside = cv2.erode(item.mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
        # The tip of a star in front blends in without taking a pixel, so a few may differ.
        foreign = np.abs(drawn.image[inside].astype(float) - color).max(axis=1) > 1
        assert foreign.mean() < 0.03


@given(scenes())
@settings(max_examples=120, deadline=None)
def test_no_background_pixel_comes_near_an_objects_colour(drawn: Scene) -> None:
    assert _nearest(drawn) >= MIN_CONTRAST - 2


@pytest.mark.parametrize("kind", ["plain", "texture"])
def test_backgrounds_are_of_the_kind_asked_for(kind: str) -> None:
    config = RefShapesConfig(backgrounds=kind)
    spreads = [np.ptp(_background(scene(config, 0, "train", index)), axis=0).max() for index in range(20)]
    assert max(spreads) == 0 if kind == "plain" else min(spreads) > 0


@pytest.fixture
def photo_dir(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png"):
        blocks = rng.integers(0, 255, (6, 8, 3), np.uint8)
        cv2.imwrite(str(tmp_path / name), cv2.resize(blocks, (640, 480), interpolation=cv2.INTER_CUBIC))
    return tmp_path


def test_photographs_keep_the_contrast_and_change_nothing_but_the_background(photo_dir: Path) -> None:
    config = RefShapesConfig(photo_dir=photo_dir)
    drawn = [scene(config, 0, "train", index) for index in range(40)]
    assert min(_nearest(item) for item in drawn) >= MIN_CONTRAST - 2
    assert np.array_equal(drawn[0].image, scene(config, 0, "train", 0).image)


def test_real_photographs_serve_as_backgrounds(coco_tiny: Path) -> None:
    config = RefShapesConfig(photo_dir=coco_tiny / "images")
    assert min(_nearest(scene(config, 0, "train", index)) for index in range(40)) >= MIN_CONTRAST - 2


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"photo_dir.*no JPEG or PNG"):
        [scene(RefShapesConfig(photo_dir=tmp_path), 0, "train", index) for index in range(20)]


def test_a_broken_photograph_is_named(tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"half\.jpg: not a readable image"):
        [scene(RefShapesConfig(photo_dir=tmp_path), 0, "train", index) for index in range(20)]
