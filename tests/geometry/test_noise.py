"""Noise does not hang an outline: it is drawn corner by corner, exactly, in the time of its corners."""

import numpy as np
import pytest
import shapely

from simpleseg_core.geometry import Mask, mask_to_polygons, polygons_to_mask
from simpleseg_core.geometry._simple import is_simple

RANDOM = np.random.default_rng(0)


def chequers(height: int, width: int) -> Mask:
    squares: Mask = np.indices((height, width)).sum(axis=0) % 2 == 0
    return squares


def comb(height: int, width: int) -> Mask:
    """A bar with teeth one pixel wide: one outline, of which Douglas and Peucker look at each corner over and over."""
    mask = np.zeros((height, width), bool)
    mask[:, ::2] = mask[0] = True
    return mask


NOISE = {
    "chequers of COCO's size": chequers(480, 640),
    "half of the pixels": RANDOM.random((256, 256)) < 0.5,
    "few pixels": RANDOM.random((200, 300)) < 0.1,
    "few holes": RANDOM.random((200, 300)) < 0.9,
    "comb": comb(900, 1000),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("tolerance", [0.0, 0.005])
@pytest.mark.parametrize("name", NOISE)
def test_noise_is_drawn_exactly(name: str, tolerance: float) -> None:
    polygons = mask_to_polygons(NOISE[name], tolerance=tolerance)
    assert np.array_equal(polygons_to_mask(polygons, *NOISE[name].shape), NOISE[name])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize("fit", [True, False])
def test_noise_is_drawn_in_as_many_points_as_allowed(name: str, fit: bool) -> None:
    polygons = mask_to_polygons(NOISE[name], max_points=40, fit=fit)
    assert 3 <= sum(map(len, polygons)) <= 40


@pytest.mark.parametrize("seed", range(20))
def test_long_outlines_are_simple_where_shapely_finds_them_valid(seed: int) -> None:
    random = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    radius = random.uniform(7000, 9000, len(turn))
    points = np.rint(10_000 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)).astype(np.int64)
    assert is_simple(points)
    i = int(random.integers(len(points)))
    points[[i, i - int(random.integers(1, 400))]] = points[[i - int(random.integers(1, 400)), i]]
    assert is_simple(points) == shapely.Polygon(points).is_valid
