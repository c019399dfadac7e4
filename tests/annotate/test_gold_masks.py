"""Annotations are measured against the true instance whose box fits best."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.annotate.gold_masks import GoldMask, annotated_gold_masks, match_gold_masks, read_gold_masks
from simpleseg_core.geometry import encode_rle


def _half(top: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[top : top + 4] = True
    return mask


UPPER, LOWER = (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)
TRUTH = [GoldMask(UPPER, encode_rle(_half(0))), GoldMask(LOWER, encode_rle(_half(4)))]


def test_each_annotation_is_compared_with_the_instance_in_its_place() -> None:
    quarter = _half(4) & (np.arange(8) < 4)
    assert match_gold_masks([LOWER, UPPER], [quarter, _half(0)], TRUTH) == [0.5, 1.0]


def test_what_lies_elsewhere_or_has_another_size_is_not_compared() -> None:
    assert match_gold_masks([(0.9, 0.0, 1.0, 1.0)], [_half(0)], TRUTH) == [None]
    assert match_gold_masks([UPPER], [np.ones((4, 4), bool)], TRUTH) == [None]
    assert match_gold_masks([UPPER], [_half(0)], []) == [None]


def test_truth_is_read_from_the_file_beside_the_shards(tmp_path: Path) -> None:
    assert read_gold_masks(tmp_path) == {}
    row = {"url": "u", "phrase": "p", "box": list(UPPER), "rle_counts": TRUTH[0].rle["counts"], "height": 8, "width": 8}
    pq.write_table(pa.Table.from_pylist([row, row | {"url": "v"}]), tmp_path / "truth.parquet")
    assert read_gold_masks(tmp_path) == {"u": TRUTH[:1], "v": TRUTH[:1]}


@pytest.mark.parametrize("extra", [{"phrase": "dog"}, {"phrase": "dog", "rle_counts": "x", "crowd": True}])
def test_truth_among_the_annotations_leaves_out_what_has_no_mask_of_its_own(extra: dict[str, object]) -> None:
    masked = {"phrase": "dog", "box": UPPER, "rle_counts": TRUTH[0].rle["counts"]}
    row = {"url": "u", "height": 8, "width": 8, "annotations": json.dumps([masked, extra | {"box": LOWER}])}
    assert annotated_gold_masks([row, row | {"url": "v", "annotations": ""}]) == {"u": TRUTH[:1]}
