"""A small `data` folder as the annotation stages leave it: image shards, and described instances with exact masks."""

from pathlib import Path
from typing import Any

from simpleseg_core.annotate.filters import MaskCandidate, contour_image
from simpleseg_core.config import ContourConfig, RefShapesConfig
from simpleseg_core.data.records import DESCRIPTIONS, write_table
from simpleseg_core.geometry import encode_rle
from simpleseg_core.refshapes import describe, phrase, scene
from tests.tasks.annotation_inputs import write_refshapes

Row = dict[str, Any]


def write_annotations(data: Path, shards: int = 2, per_shard: int = 4) -> list[Row]:
    """Fill `images` and `descriptions`; returns the description rows."""
    write_refshapes(data / "images", shards, per_shard)
    written: list[Row] = []
    for shard in range(shards):
        indices = range(shard * per_shard, (shard + 1) * per_shard)
        rows = [row for index in indices for row in _rows(index, f"images/{shard:05d}.tar")]
        write_table(rows, DESCRIPTIONS, data / "descriptions" / f"{shard:05d}.parquet")
        written += rows
    return written


def _rows(index: int, shard: str) -> list[Row]:
    drawn = scene(RefShapesConfig(), 2, "train", index)
    candidates = [MaskCandidate(phrase(item), item.box, 0.9, item.mask, 0.8, 0.95) for item in drawn.objects]
    passed, _ = contour_image(candidates, ContourConfig(tolerance=0.02, min_roundtrip_iou=0.5))
    return [
        {
            "instance": f"{index:08d}/{item.index}",
            "image": f"{index:08d}",
            "shard": shard,
            "width": 96,
            "height": 96,
            "caption": describe(drawn),
            "phrase": candidates[item.index].phrase,
            "span_start": -1,
            "span_end": -1,
            "box": list(candidates[item.index].box),
            "score": 0.9 - 0.01 * index,
            "detector": "truth",
            "url": f"http://shapes.test/{index}.jpg",
            "sha256": f"{index:08d}",
            "rle_counts": encode_rle(item.mask)["counts"],
            "predicted_iou": 0.8,
            "stability": 0.95,
            "segmenter": "truth",
            "point": list(item.point),
            "polygons": [polygon.tolist() for polygon in item.polygons],
            "points": sum(len(polygon) for polygon in item.polygons),
            "roundtrip_iou": item.roundtrip_iou,
            "description": f"the {candidates[item.index].phrase}",
            "description_source": "caption",
        }
        for item in passed
    ]
