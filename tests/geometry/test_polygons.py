"""Masks become polygons that are simple, ordered, few and exact."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes

from simpleseg_core.geometry import (
    Mask,
    Polygon,
    Region,
    encode_rle,
    interior_point,
    mask_box,
    mask_to_polygons,
    polygons_mask_iou,
    polygons_overlap,
    polygons_to_mask,
    signed_area,
)
from tests.geometry.shapes_zoo import awkward, blob, disc, masks

AWKWARD = awkward()
FEW = settings(max_examples=60, deadline=None)


def is_canonical(polygons: list[Polygon]) -> bool:
    """At least 3 vertices on the grid within the image, clockwise, nearest vertex first, parts in that order."""
    starts = [float((polygon**2).sum(axis=1)[0]) for polygon in polygons]
    return starts == sorted(starts) and all(
        len(polygon) >= 3
        and polygon.min() >= 0
        and polygon.max() <= 1
        and signed_area(polygon) > 0
        and (polygon**2).sum(axis=1).argmin() == 0
        and np.array_equal(polygon, np.rint(polygon * 1000) / 1000)
        for polygon in polygons
    )


@pytest.mark.parametrize("name", AWKWARD)
def test_every_corner_kept_rebuilds_the_mask_exactly(name: str) -> None:
    polygons = mask_to_polygons(AWKWARD[name], tolerance=0)
    assert is_canonical(polygons)
    assert np.array_equal(polygons_to_mask(polygons, *AWKWARD[name].shape), AWKWARD[name])


@FEW
@given(masks())
def test_any_mask_is_rebuilt_exactly_at_tolerance_zero(mask: Mask) -> None:
    polygons = mask_to_polygons(mask, tolerance=0)
    assert is_canonical(polygons)
    assert np.array_equal(polygons_to_mask(polygons, *mask.shape), mask)


@FEW
@given(masks(), st.sampled_from([0.001, 0.005, 0.02]))
def test_no_mask_loses_more_than_the_tolerance_allows(mask: Mask, tolerance: float) -> None:
    polygons = mask_to_polygons(mask, tolerance=tolerance)
    assert is_canonical(polygons)
    assert polygons_mask_iou(polygons, mask) >= 1 - 20 * tolerance - 0.02


@FEW
@given(masks(), st.integers(3, 30))
def test_the_cap_holds_and_something_is_drawn(mask: Mask, cap: int) -> None:
    polygons = mask_to_polygons(mask, max_points=cap)
    assert is_canonical(polygons)
    assert bool(polygons) == bool(mask.any())
    assert sum(map(len, polygons)) <= cap


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fit", [True, False])
def test_smooth_shapes_give_simple_polygons(seed: int, fit: bool) -> None:
    polygons = mask_to_polygons(binary_fill_holes(blob(seed)), fit=fit)
    assert all(shapely.Polygon(polygon).is_valid for polygon in polygons)


@pytest.mark.parametrize("seed", range(6))
def test_fitting_beats_the_outline_s_own_corners_at_fewer_points(seed: int) -> None:
    mask = blob(seed, 96, 128)
    fitted, thinned = mask_to_polygons(mask), mask_to_polygons(mask, fit=False)
    assert polygons_mask_iou(fitted, mask) >= 0.9
    assert sum(map(len, fitted)) < 0.7 * sum(map(len, thinned))


@pytest.mark.parametrize(("x", "y"), [(32.0, 32.0), (31.4, 30.3), (33.1, 29.7)])
def test_a_small_disc_needs_twelve_points(x: float, y: float) -> None:
    mask = disc(64, 64, x, y, 14)
    polygons = mask_to_polygons(mask, max_points=12)
    assert sum(map(len, polygons)) <= 12
    assert polygons_mask_iou(polygons, mask) >= 0.97


def test_a_rectangle_is_its_four_corners() -> None:
    mask = np.zeros((50, 100), bool)
    mask[10:30, 20:70] = True
    (polygon,) = mask_to_polygons(mask)
    assert polygons_mask_iou([polygon], mask) == 1
    assert np.allclose(polygon, [[0.2, 0.2], [0.7, 0.2], [0.7, 0.6], [0.2, 0.6]], atol=0.006)


def test_a_hole_is_bridged_or_dropped() -> None:
    mask = disc(64, 64, 32, 32, 20) & ~disc(64, 64, 34, 30, 9)
    (bridged,) = mask_to_polygons(mask)
    (filled,) = mask_to_polygons(mask, holes="drop")
    assert polygons_mask_iou([bridged], mask) >= 0.95
    assert polygons_mask_iou([filled], binary_fill_holes(mask)) >= 0.95


def test_small_parts_can_be_left_out() -> None:
    mask = disc(64, 64, 20, 20, 12)
    mask[50:54, 50:54] = True
    assert len(mask_to_polygons(mask)) == 2
    assert len(mask_to_polygons(mask, min_area=17)) == 1
    assert mask_to_polygons(mask, min_area=5000) == []


def test_parts_run_from_the_origin() -> None:
    mask = disc(64, 64, 50, 50, 8) | disc(64, 64, 12, 14, 6) | disc(64, 64, 50, 10, 7)
    centres = [polygon.mean(axis=0) for polygon in mask_to_polygons(mask)]
    assert np.allclose(centres, [[0.19, 0.22], [0.78, 0.16], [0.78, 0.78]], atol=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_memory_layout_and_encoding_do_not_matter(seed: int) -> None:
    mask = blob(seed)
    polygons = mask_to_polygons(mask)
    for same in (np.asfortranarray(mask), np.pad(mask, 3)[3:-3, 3:-3], encode_rle(mask)):
        again = mask_to_polygons(same)
        assert all(np.array_equal(a, b) for a, b in zip(polygons, again, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_flipping_the_mask_flips_what_is_drawn(seed: int) -> None:
    mask = blob(seed)
    for axis in (0, 1):
        redrawn = polygons_to_mask(mask_to_polygons(np.flip(mask, axis), tolerance=0), *mask.shape)
        assert np.array_equal(np.flip(redrawn, axis), mask)
        assert polygons_mask_iou(mask_to_polygons(np.flip(mask, axis)), np.flip(mask, axis)) >= 0.95


@pytest.mark.parametrize("seed", range(4))
def test_cropping_the_mask_crops_what_is_drawn(seed: int) -> None:
    mask = blob(seed)
    part = mask[10:40, 8:50]
    cropped = polygons_to_mask(mask_to_polygons(mask, tolerance=0), *mask.shape)[10:40, 8:50]
    assert np.array_equal(polygons_to_mask(mask_to_polygons(part, tolerance=0), *part.shape), cropped)


def test_images_finer_than_the_grid_keep_small_objects() -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[1203:1204, 77:95] = True
    polygons = mask_to_polygons(mask)
    assert polygons_to_mask(polygons, 3000, 4000).any()
    mask[500:900, 1000:1800] = True
    assert polygons_mask_iou(mask_to_polygons(mask), mask) >= 0.98


def test_nothing_gives_nothing() -> None:
    assert mask_to_polygons(np.zeros((5, 7), bool)) == []
    assert mask_to_polygons(np.zeros((0, 7), bool)) == []


@pytest.mark.parametrize("arguments", [{"tolerance": -1}, {"tolerance": 1}, {"max_points": 2}, {"grid": 0}])
def test_arguments_out_of_range_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        mask_to_polygons(np.ones((4, 4), bool), **arguments)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_of_numbers_are_masks(dtype: Any) -> None:
    mask = disc(48, 64, 30, 20, 12) & ~disc(48, 64, 32, 22, 5)
    numbers = mask.astype(dtype)
    assert encode_rle(numbers) == encode_rle(mask)
    assert all(map(np.array_equal, mask_to_polygons(numbers), mask_to_polygons(mask)))
    assert np.array_equal(mask_box(numbers), mask_box(mask))
    assert np.array_equal(interior_point(numbers), interior_point(mask))
    assert polygons_overlap(mask_to_polygons(mask), numbers) == polygons_overlap(mask_to_polygons(mask), mask)
    assert np.array_equal(Region.from_truth(numbers).mask(), mask)


@pytest.mark.parametrize(
    "function",
    [encode_rle, mask_to_polygons, mask_box, interior_point, Region.from_truth, partial(polygons_overlap, [])],
)
def test_what_is_no_mask_is_refused(function: Callable[[Mask], object]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        function(np.full((4, 5), 0.5))
    with pytest.raises(ValueError, match="height and width"):
        function(np.zeros((4, 5, 1), bool))
