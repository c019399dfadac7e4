"""Boxes, inner points and orders."""

import numpy as np
import pytest
from hypothesis import given, settings

from simpleseg_core.geometry import (
    Mask,
    crosses_itself,
    interior_point,
    mask_box,
    order_polygon,
    order_polygons,
    polygons_box,
    signed_area,
)
from tests.geometry.shapes_zoo import disc, masks

FEW = settings(max_examples=60, deadline=None)
SQUARE = np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.4], [0.2, 0.4]])


def test_boxes_lie_on_pixel_edges() -> None:
    mask = np.zeros((10, 20), bool)
    mask[3:5, 4:10] = True
    assert mask_box(mask) == pytest.approx([0.2, 0.3, 0.5, 0.5])
    assert mask_box(np.ones((7, 3), bool)) == pytest.approx([0, 0, 1, 1])
    assert mask_box(~np.ones((7, 3), bool)) is None


def test_the_box_of_polygons_holds_all_of_them() -> None:
    assert polygons_box([SQUARE, SQUARE + 0.3]) == pytest.approx([0.2, 0.2, 0.9, 0.7])
    assert polygons_box([]) is None


@FEW
@given(masks())
def test_the_inner_point_lies_inside(mask: Mask) -> None:
    if not mask.any():
        with pytest.raises(ValueError, match="empty mask"):
            interior_point(mask)
        return
    x, y = interior_point(mask)
    height, width = mask.shape
    assert mask[int(y * height), int(x * width)]


def test_the_inner_point_of_a_ring_is_in_its_thick_side() -> None:
    mask = disc(64, 64, 32, 32, 25) & ~disc(64, 64, 26, 32, 14)
    x, y = interior_point(mask)
    assert x > 0.6
    assert y == pytest.approx(0.5, abs=0.05)


def test_orders_keep_the_vertices() -> None:
    rng = np.random.default_rng(0)
    for order in ("clockwise", "counter_clockwise", "by_x", "shuffled"):
        ordered = order_polygon(SQUARE[[2, 1, 0, 3]], order, rng)  # type: ignore[arg-type]
        assert sorted(map(tuple, ordered.tolist())) == sorted(map(tuple, SQUARE.tolist()))


def test_rings_turn_as_asked_and_start_nearest_the_origin() -> None:
    backwards = SQUARE[[2, 1, 0, 3]]
    assert np.array_equal(order_polygon(backwards), SQUARE)
    counter = order_polygon(SQUARE, "counter_clockwise")
    assert signed_area(counter) < 0 < signed_area(SQUARE)
    assert np.array_equal(counter[0], SQUARE[0])
    assert np.all(np.diff(order_polygon(SQUARE, "by_x")[:, 0]) >= 0)


def test_of_two_vertices_as_near_the_origin_the_upper_comes_first() -> None:
    kite = np.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.3]])
    assert order_polygon(kite)[0].tolist() == [0.2, 0.1]
    assert order_polygon(kite, "counter_clockwise")[0].tolist() == [0.2, 0.1]
    mirrored = kite[:, ::-1] + [[0, 0], [0, 0], [0.1, 0.2]]
    assert order_polygon(mirrored)[0].tolist() == [0.2, 0.1]


def test_of_two_polygons_as_near_the_origin_the_upper_comes_first() -> None:
    upper, lower = np.array([[0.2, 0.1], [0.5, 0.1], [0.5, 0.15]]), np.array([[0.1, 0.2], [0.15, 0.5], [0.1, 0.5]])
    for polygons in ([upper, lower], [lower, upper]):
        assert order_polygons(polygons)[0][0].tolist() == [0.2, 0.1]


def test_polygons_are_sorted_by_their_nearest_vertex() -> None:
    near, far = SQUARE, SQUARE + 0.3
    assert np.array_equal(order_polygons([far, near])[0], near)


def test_shuffling_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="rng"):
        order_polygon(SQUARE, "shuffled")


def test_crossing_is_told_from_touching() -> None:
    bow_tie = np.array([[0, 0], [1, 1], [1, 0], [0, 1.0]])
    outer, hole = SQUARE, np.array([[0.3, 0.25], [0.3, 0.35], [0.4, 0.3]])
    bridged = np.concatenate([outer[:1], hole, hole[:1], outer])
    assert crosses_itself(bow_tie)
    assert not crosses_itself(SQUARE)
    assert not crosses_itself(bridged)
