"""Filling agrees with pycocotools pixel for pixel, and overlaps agree with painted masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy import ndimage

from simpleseg_core.geometry import Mask, Region, encode_rle, polygons_mask_iou, polygons_overlap, polygons_to_mask
from tests.geometry.shapes_zoo import blob, masks

FEW = settings(max_examples=60, deadline=None)
SQUARE = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])


def coco_fill(polygons: list[NDArray[np.float64]], height: int, width: int) -> Mask:
    """What pycocotools fills."""
    rings = [(polygon * (width, height)).ravel().tolist() for polygon in polygons]
    return coco.decode(coco.merge(coco.frPyObjects(rings, height, width))).astype(bool)


@pytest.mark.parametrize("steps", [None, 1000, 5, 1])
def test_random_polygons_fill_as_in_pycocotools(steps: int | None) -> None:
    rng = np.random.default_rng(7)
    for _ in range(250):
        height, width = (int(side) for side in rng.integers(1, 60, 2))
        polygons = [rng.uniform(-0.3, 1.3, (int(rng.integers(3, 10)), 2)) for _ in range(int(rng.integers(1, 3)))]
        if steps is not None:
            # Vertices on whole steps, fifths of pixels or pixels make the ties that rounding has to break alike.
            scale = steps if steps > 5 else np.array([width, height]) * steps
            polygons = [np.rint(polygon * scale) / scale for polygon in polygons]
        assert np.array_equal(polygons_to_mask(polygons, height, width), coco_fill(polygons, height, width))


@pytest.mark.parametrize(
    "polygon",
    [
        np.empty((0, 2)),
        np.array([[0.1, 0.1]]),
        np.array([[0.1, 0.1], [0.9, 0.9]]),
        np.array([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]),
        np.array([[np.nan, 0.1], [0.5, 0.5], [0.9, 0.1]]),
        np.array([[0.1, np.inf], [0.5, 0.5], [0.9, 0.1]]),
        np.full((5, 2), 0.5),
        np.array([[5.0, 5.0], [6.0, 5.0], [6.0, 6.0]]),
    ],
)
def test_degenerate_polygons_fill_nothing(polygon: NDArray[np.float64]) -> None:
    assert not polygons_to_mask([polygon], 20, 30).any()
    assert np.array_equal(polygons_to_mask([polygon, SQUARE], 20, 30), polygons_to_mask([SQUARE], 20, 30))


def test_a_polygon_larger_than_the_image_fills_all_of_it() -> None:
    huge = (SQUARE - 0.5) * 1e200
    assert polygons_to_mask([huge], 20, 30).all()


def test_a_crossing_outline_fills_by_the_even_odd_rule() -> None:
    bow_tie = np.array([[0, 0], [1, 1], [1, 0], [0, 1.0]])
    twice = np.concatenate([SQUARE, SQUARE])
    assert 0 < polygons_to_mask([bow_tie], 40, 40).mean() < 0.6
    assert not polygons_to_mask([twice], 40, 40).any()


def test_parts_unite() -> None:
    shifted = SQUARE + 0.1
    both = polygons_to_mask([SQUARE, shifted, SQUARE], 40, 50)
    assert np.array_equal(both, polygons_to_mask([SQUARE], 40, 50) | polygons_to_mask([shifted], 40, 50))


@FEW
@given(st.integers(0, 500), st.integers(0, 500))
def test_overlaps_are_those_of_painted_masks(first: int, second: int) -> None:
    truth = blob(second, 20, 31)
    rng = np.random.default_rng(first)
    polygons = [rng.random((4, 2)), rng.random((3, 2))]
    painted = polygons_to_mask(polygons, *truth.shape)
    for given_truth in (truth, encode_rle(truth)):
        overlap = polygons_overlap(polygons, given_truth)
        assert overlap == (
            (painted & truth).sum(),
            (painted | truth).sum(),
            painted.sum(),
            truth.sum(),
        )
        assert polygons_mask_iou(polygons, given_truth) == overlap.iou


def test_two_empty_masks_agree() -> None:
    assert polygons_mask_iou([], np.zeros((4, 5), bool)) == 1
    assert polygons_mask_iou([], np.ones((4, 5), bool)) == 0


@FEW
@given(masks())
def test_a_region_measures_what_its_mask_holds(mask: Mask) -> None:
    region = Region.from_truth(encode_rle(mask))
    assert np.array_equal(region.mask(), mask)
    assert region.area == mask.sum()
    box, centroid = region.pixel_box(), region.centroid()
    if not mask.any():
        assert (box, centroid, region.box()) == (None, None, None)
        return
    rows, columns = np.nonzero(mask)
    assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    height, width = mask.shape
    assert centroid is not None
    assert np.allclose(centroid, [(columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height])


@FEW
@given(masks(), st.integers(1, 5))
def test_a_region_knows_its_depth_its_outline_and_its_parts(mask: Mask, radius: int) -> None:
    region = Region.from_truth(encode_rle(mask))
    everywhere = np.ones((3, 3), bool)
    assert np.array_equal(region.eroded(radius).mask(), ndimage.binary_erosion(mask, everywhere, radius))
    columns, rows = np.nonzero((mask & ~ndimage.binary_erosion(mask)).T)
    assert np.array_equal(region.outline(), np.stack([columns, rows], axis=1))
    assert region.parts() == ndimage.label(mask, everywhere)[1]


def test_hundreds_of_edges_through_one_column_fill_as_pycocotools_does() -> None:
    polygon = np.random.default_rng(0).integers(0, 1001, (700, 2)) / 1000
    assert np.array_equal(polygons_to_mask([polygon], 90, 120), coco_fill([polygon], 90, 120))
