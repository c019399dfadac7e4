"""The stage from boxes to masks, and how well these agree with exact masks where the data has some."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from simpleseg_core.annotate import Segment, Segmenter, build_clip, build_segmenter
from simpleseg_core.annotate.gold_masks import (
    GoldMask,
    GoldMasks,
    annotated_gold_masks,
    match_gold_masks,
    read_gold_masks,
)
from simpleseg_core.config import Config, SegmentConfig
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.records import BOXES, MASKS
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.fingerprint import Input, fingerprint, weights
from simpleseg_core.geometry import encode_rle
from tasks.shards.ingested import Ingested
from tasks.shards.parts import ImageResult, Loaded, Row, Tally, load_image
from tasks.shards.shard_map import ShardMap, left_out, provenance, run_shards

if TYPE_CHECKING:
    from simpleseg_core.annotate.clip import Clip


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `masks` with one table a shard."""
    section = config.segment
    shards = ShardMap(
        inputs["boxes"],
        outputs["masks"],
        BOXES,
        MASKS,
        fingerprint(stage="segment/2", section=section, **_weights(section)),
        provenance("segment", section),
    )
    counts, speed = run_shards(shards, _Segmentation(section, inputs["images"]), section, config.ray, context)
    return StageResult(metrics=_metrics(counts) | speed.metrics(), tables=left_out(counts))


def _weights(section: SegmentConfig) -> dict[str, Input]:
    return {
        "model": weights(section.model, loaded=section.loads_model),
        "clip": weights(section.clip or "", loaded=section.clip is not None),
    }


class _Segmentation:
    def __init__(self, config: SegmentConfig, images: Path) -> None:
        self._config, self._images = config, images
        self._store = ImageStore(images.parent)
        self._ingested = Ingested(images)

    def open(self) -> None:
        """Load the segmenter, and the CLIP where one is named."""
        self._segmenter, self._clip  # noqa: B018

    @cached_property
    def _segmenter(self) -> Segmenter:
        return build_segmenter(self._config)

    @cached_property
    def _clip(self) -> "Clip | None":
        return build_clip(self._config)

    @cached_property
    def _file_gold(self) -> GoldMasks:
        return read_gold_masks(self._images)

    def close(self) -> None:
        """Nothing to give back."""

    def load(self, rows: Sequence[Row]) -> Loaded:
        """Decode an image; with it comes what is known of its exact masks."""
        return replace(load_image(self._store, rows), gold=self._gold(rows[0]))

    def _gold(self, row: Row) -> Sequence[GoldMask]:
        """From the file's truth, or from the annotations that were ingested with the image."""
        if (self._images / "truth.parquet").is_file():
            return self._file_gold.get(row["url"], ())
        return annotated_gold_masks([self._ingested.of(row)]).get(row["url"], ())

    def apply(self, items: Sequence[Loaded]) -> list[ImageResult]:
        """Box rows of some images -> their mask rows."""
        return [self._segment(item) for item in items]

    def _segment(self, item: Loaded) -> ImageResult:
        boxes = [tuple(row["box"]) for row in item.rows]
        segments = self._segmenter.segment(item.pixels, boxes)
        phrases = [row["phrase"] for row in item.rows]
        fits = self._clip.similarities(item.pixels, boxes, phrases) if self._clip else [None] * len(boxes)
        masks = [self._row(*found) for found in zip(item.rows, segments, fits, strict=True)]
        counts = Tally(masks=len(masks))
        for iou in match_gold_masks(boxes, [segment.mask for segment in segments], item.gold):
            counts.add({"unmatched": 1} if iou is None else {"matched": 1, "iou_sum": iou})
        return masks, counts

    def _row(self, row: Row, segment: Segment, similarity: float | None) -> Row:
        return row | {
            "rle_counts": encode_rle(segment.mask)["counts"],
            "predicted_iou": segment.predicted_iou,
            "stability": segment.stability,
            "similarity": similarity,
            "segmenter": self._segmenter.name,
        }


def _metrics(counts: Tally) -> dict[str, float]:
    metrics = {"masks": counts["masks"]}
    if counts["matched"]:
        metrics["mask_iou"] = counts["iou_sum"] / counts["matched"]
        metrics["matched_share"] = counts["matched"] / counts["masks"]
    return metrics
