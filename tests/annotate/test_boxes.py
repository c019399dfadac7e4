"""Laws of box overlap and of non-maximum suppression."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.annotate.boxes import box_iou, pairwise_iou, suppress

_coordinate = st.floats(0, 1, allow_nan=False)
_box = st.tuples(_coordinate, _coordinate, _coordinate, _coordinate).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
_scored = st.lists(st.tuples(_box, st.floats(0, 1)), max_size=12)


def test_overlap_of_known_boxes() -> None:
    assert box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == 1 / 7
    assert box_iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0
    assert box_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0


@given(st.lists(_box, max_size=6), st.lists(_box, max_size=6))
def test_overlap_is_symmetric_and_lies_in_the_unit_interval(
    first: list[tuple[float, ...]], second: list[tuple[float, ...]]
) -> None:
    overlaps = pairwise_iou(first, second)
    assert overlaps.shape == (len(first), len(second))
    assert ((overlaps >= 0) & (overlaps <= 1 + 1e-9)).all()
    np.testing.assert_allclose(overlaps, pairwise_iou(second, first).T)


@given(_scored, st.floats(0.05, 1))
def test_suppression_keeps_the_best_of_every_cluster(
    scored: list[tuple[tuple[float, ...], float]], threshold: float
) -> None:
    boxes, scores = [box for box, _ in scored], [score for _, score in scored]
    kept = suppress(boxes, scores, threshold)
    overlaps = pairwise_iou(boxes, boxes)
    assert [scores[i] for i in kept] == sorted((scores[i] for i in kept), reverse=True)
    for number, index in enumerate(kept):
        assert all(overlaps[index, better] <= threshold for better in kept[:number])
    for index in set(range(len(boxes))) - set(kept):
        assert any(overlaps[index, i] > threshold and scores[i] >= scores[index] for i in kept)
