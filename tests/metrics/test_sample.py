"""Scores of single answers equal what pycocotools and scikit-image compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from scipy.ndimage import binary_erosion
from skimage.metrics import hausdorff_distance
from skimage.segmentation import find_boundaries

from simpleseg_core.geometry import Mask, encode_rle, mask_to_polygons, polygons_to_mask
from simpleseg_core.grammar import format_box, format_polygons
from simpleseg_core.metrics import boundary_iou, box_iou, outline_distances, score_sample
from tests.geometry.shapes_zoo import blob, disc

FEW = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 1000)


def outline(mask: Mask) -> Mask:
    """The pixels of a mask with one of their four neighbours outside, by scikit-image."""
    found: Mask = find_boundaries(np.pad(mask, 1), connectivity=1, mode="inner")[1:-1, 1:-1]
    return found


@FEW
@given(seeds, seeds)
def test_overlaps_are_those_of_pycocotools(first: int, second: int) -> None:
    ours, truth = blob(first), blob(second)
    polygons = mask_to_polygons(ours)
    score = score_sample(format_polygons(polygons), encode_rle(truth))
    encoded = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in (polygons_to_mask(polygons, 48, 64), truth)]
    assert score.iou == pytest.approx(coco.iou([encoded[0]], [encoded[1]], [0])[0, 0])
    assert score.intersection == coco.area(coco.merge(encoded, intersect=True))
    assert score.union == coco.area(coco.merge(encoded))
    assert score.truth_area == truth.sum()
    assert score.points == sum(map(len, polygons))


@FEW
@given(seeds, seeds, st.sampled_from([0.005, 0.02, 0.1]))
def test_boundary_iou_is_that_of_eroded_masks(first: int, second: int, width: float) -> None:
    ours, truth = blob(first), blob(second)
    steps = max(1, round(width * np.hypot(48, 64)))
    bands = [m & ~binary_erosion(m, np.ones((3, 3)), iterations=steps) for m in (ours, truth)]
    assert boundary_iou(ours, truth, width) == pytest.approx((bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum())


@FEW
@given(seeds, seeds)
def test_outline_distances_are_those_of_scikit_image(first: int, second: int) -> None:
    ours, truth = blob(first), blob(second)
    a, b = np.argwhere(outline(ours)), np.argwhere(outline(truth))
    gaps = np.linalg.norm(a[:, None] - b[None], axis=-1)
    found = outline_distances(ours, truth, tolerance=0.03)
    assert found.hausdorff == pytest.approx(hausdorff_distance(outline(ours), outline(truth)), rel=1e-5)
    assert found.chamfer == pytest.approx((gaps.min(axis=1).mean() + gaps.min(axis=0).mean()) / 2, rel=1e-5)
    reach = round(0.03 * np.hypot(48, 64))
    precision, recall = (gaps.min(axis=1) <= reach).mean(), (gaps.min(axis=0) <= reach).mean()
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert found.f_score == pytest.approx(expected)


def test_a_perfect_answer_scores_one_everywhere() -> None:
    mask = disc(64, 64, 30, 31, 14)
    score = score_sample(mask_to_polygons(mask, tolerance=0), mask, tokens=99)
    assert (score.iou, score.box_iou, score.boundary_iou, score.boundary_f) == (1, pytest.approx(1, abs=0.05), 1, 1)
    assert (score.chamfer, score.hausdorff, score.valid, score.tokens) == (0, 0, True, 99)


def test_masks_and_encodings_score_alike() -> None:
    mask, polygons = blob(4), mask_to_polygons(blob(5))
    assert score_sample(polygons, mask) == score_sample(polygons, encode_rle(mask))


def test_the_empty_union_counts_as_in_lisa() -> None:
    nothing = np.zeros((20, 30), bool)
    right, unreadable = score_sample("[]", nothing), score_sample("no idea", nothing)
    assert (right.iou, right.boundary_iou, right.boundary_f, right.box_iou) == (1, 1, 1, 1)
    assert (unreadable.iou, unreadable.boundary_iou, unreadable.boundary_f, unreadable.box_iou) == (0, 0, 0, 0)
    assert right.predicted_empty
    assert not unreadable.predicted_empty
    assert unreadable.error


def test_one_sided_emptiness_scores_zero() -> None:
    mask = disc(20, 30, 10, 10, 5)
    missed, invented = score_sample("[]", mask), score_sample(mask_to_polygons(mask), ~mask & mask)
    for score in (missed, invented):
        assert (score.iou, score.boundary_iou, score.boundary_f, score.box_iou) == (0, 0, 0, 0)
        assert np.isnan(score.chamfer)


def test_a_box_answer_takes_the_place_of_the_polygons_box() -> None:
    mask = np.zeros((50, 100), bool)
    mask[10:30, 20:70] = True
    assert score_sample("[]", mask, box_answer=format_box([0.2, 0.2, 0.7, 0.6])).box_iou == pytest.approx(1)
    assert score_sample(mask_to_polygons(mask), mask, box_answer="where?").box_iou == 0


def test_box_iou() -> None:
    unit = np.array([0, 0, 1, 1.0])
    assert box_iou(unit, np.array([0, 0, 0.5, 1])) == pytest.approx(0.5)
    assert box_iou(unit, np.array([2, 2, 3, 3.0])) == 0
    assert box_iou(np.zeros(4), np.zeros(4)) == 0
    assert box_iou(None, None) == 1
    assert box_iou(unit, None) == 0
