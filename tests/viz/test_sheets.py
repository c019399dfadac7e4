"""Sheets: every picture is on the page, whole."""

import numpy as np
import pytest

from simpleseg_core.viz import Probe, contact_sheet, draw_overlay, probe_sheet, upscale


def contains(page: np.ndarray, picture: np.ndarray) -> bool:
    """Whether the picture is somewhere on the page, pixel for pixel."""
    height, width = picture.shape[:2]
    starts = np.argwhere((page == picture[0, 0]).all(-1))
    return any(np.array_equal(page[y : y + height, x : x + width], picture) for y, x in starts)


def test_pictures_of_different_sizes_are_all_there() -> None:
    pictures = [np.full((4 + i, 9 - i, 3), 20 * i, np.uint8) for i in range(5)]
    page = contact_sheet(pictures, columns=2)
    assert all(contains(page, picture) for picture in pictures)


def test_fewer_pictures_than_columns_make_a_narrow_page() -> None:
    one = np.zeros((10, 10, 3), np.uint8)
    assert contact_sheet([one], columns=5).shape == contact_sheet([one], columns=1).shape


@pytest.mark.parametrize(("count", "columns"), [(0, 2), (3, 0)])
def test_nothing_to_show_is_an_error(count: int, columns: int) -> None:
    with pytest.raises(ValueError, match="contact sheet needs"):
        contact_sheet([np.zeros((4, 4, 3), np.uint8)] * count, columns)


def test_a_probe_shows_image_truth_and_prediction() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    truth, prediction = np.tri(64, dtype=bool), np.tri(64, dtype=bool).T
    page = probe_sheet([Probe(image, truth, prediction, "below the diagonal")], columns=1)
    for panel in (upscale(image), draw_overlay(image, truth=truth), draw_overlay(image, prediction=prediction)):
        assert contains(page, panel)
