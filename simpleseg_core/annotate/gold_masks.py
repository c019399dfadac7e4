"""Exact masks that came with the data, to measure annotations against."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from simpleseg_core.annotate._protocols import Mask
from simpleseg_core.annotate.boxes import pairwise_iou
from simpleseg_core.geometry import Rle, decode_rle

_MIN_BOX_IOU = 0.5
"""An annotation whose box overlaps every true box less is matched to none."""


@dataclass(frozen=True, slots=True)
class GoldMask:
    """A true instance: its box, normalised xyxy, and its mask."""

    box: tuple[float, float, float, float]
    rle: Rle


GoldMasks = Mapping[str, Sequence[GoldMask]]
"""URL of an image -> its true instances."""


def read_gold_masks(images: Path) -> GoldMasks:
    """The exact masks of `truth.parquet` beside the image shards (RefShapes); empty where there is no such file."""
    path = images / "truth.parquet"
    found: dict[str, list[GoldMask]] = {}
    if path.is_file():
        for row in pq.read_table(path, columns=["url", "box", "rle_counts", "height", "width"]).to_pylist():
            found.setdefault(row["url"], []).append(_instance(row, row["height"], row["width"]))
    return found


def annotated_gold_masks(rows: Sequence[Mapping[str, Any]]) -> GoldMasks:
    """The masks among the `annotations` of ingest rows (COCO); instances without a mask are left out."""
    return {
        row["url"]: [
            _instance(item, row["height"], row["width"])
            for item in json.loads(row["annotations"])
            if "rle_counts" in item and not item.get("crowd")
        ]
        for row in rows
        if row["annotations"]
    }


def _instance(row: Mapping[str, Any], height: int, width: int) -> GoldMask:
    left, top, right, bottom = row["box"]
    return GoldMask((left, top, right, bottom), {"size": [height, width], "counts": row["rle_counts"]})


def match_gold_masks(
    boxes: Sequence[Sequence[float]], masks: Sequence[Mask], gold: Sequence[GoldMask]
) -> list[float | None]:
    """Mask IoU of each annotation with the true instance whose box fits best; None where no box fits."""
    if not gold:
        return [None] * len(boxes)
    overlaps = pairwise_iou(boxes, [item.box for item in gold])
    best = overlaps.argmax(axis=1)
    return [
        _mask_iou(mask, decode_rle(gold[j].rle)) if overlaps[i, j] >= _MIN_BOX_IOU else None
        for i, (mask, j) in enumerate(zip(masks, best, strict=True))
    ]


def _mask_iou(first: Mask, second: Mask) -> float | None:
    """None where the two have different sizes: the image was resized after the truth was drawn."""
    if first.shape != second.shape:
        return None
    union = int(np.logical_or(first, second).sum())
    return int(np.logical_and(first, second).sum()) / union if union else 1.0
