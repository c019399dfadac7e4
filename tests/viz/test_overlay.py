"""Overlays: what is drawn lies where the mask lies, and the picture keeps its proportions."""

import numpy as np
import pytest

from simpleseg_core.viz import PREDICTION_COLOUR, TRUTH_COLOUR, RgbImage, draw_overlay, upscale

GREY = np.full((96, 64, 3), 128, np.uint8)
LEFT = np.zeros((96, 64), bool)
LEFT[:, :32] = True


def distance(pixel: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float(np.abs(pixel.astype(int) - colour).sum())


def pixel_at(overlay: RgbImage, x: float, y: float) -> np.ndarray:
    """The pixel at a normalised place."""
    pixel: np.ndarray = overlay[int(y * overlay.shape[0]), int(x * overlay.shape[1])]
    return pixel


def test_small_images_grow_by_a_whole_factor_with_square_pixels() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 1, 3)
    large = upscale(image, side=5)
    assert large.shape == (6, 3, 3)
    assert (large[:3] == image[0]).all()
    assert (large[3:] == image[1]).all()


def test_large_images_keep_their_size() -> None:
    image = np.zeros((600, 800, 3), np.uint8)
    assert draw_overlay(image, prediction=np.zeros((600, 800), bool)).shape == image.shape


@pytest.mark.parametrize(("role", "colour"), [("truth", TRUTH_COLOUR), ("prediction", PREDICTION_COLOUR)])
def test_the_inside_is_tinted_and_the_outside_is_left_alone(role: str, colour: tuple[int, int, int]) -> None:
    overlay = draw_overlay(GREY, **{role: LEFT})
    assert (pixel_at(overlay, 0.75, 0.5) == 128).all()
    assert distance(pixel_at(overlay, 0.25, 0.5), colour) < distance(np.array([128, 128, 128]), colour)


def test_the_input_image_is_not_written_to() -> None:
    image = np.full((400, 400, 3), 7, np.uint8)
    draw_overlay(image, truth=np.ones((400, 400), bool), prediction=np.ones((400, 400), bool), title="all of it")
    assert (image == 7).all()


def test_an_empty_mask_draws_nothing() -> None:
    assert (draw_overlay(GREY, truth=~LEFT & LEFT) == upscale(GREY)).all()


@pytest.mark.parametrize("title", ["red circle", "größte Ente links von der roten " * 20])
def test_a_title_of_any_length_stands_in_a_strip_above(title: str) -> None:
    bare, titled = draw_overlay(GREY, truth=LEFT), draw_overlay(GREY, truth=LEFT, title=title)
    strip = len(titled) - len(bare)
    assert strip > 0
    assert (titled[strip:] == bare).all()
    assert titled[:strip].min() < 128 < titled[:strip].max()


def test_a_mask_of_another_size_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"prediction mask has shape \(5, 5\)"):
        draw_overlay(GREY, prediction=np.zeros((5, 5), bool))
