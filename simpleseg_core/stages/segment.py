"""The stage from boxes to masks, and how well these agree with exact masks where the data has some."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from simpleseg_core.annotate import Segment, Segmenter, build_segmenter
from simpleseg_core.annotate.truth import Truth, annotated_truth, match_truth, read_truth
from simpleseg_core.config import Config, SegmentConfig
from simpleseg_core.data.records import BOXES, INGEST, MASKS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import encode_rle
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.stages._shards import Counts, Row, ShardMap, Tally, by_image, digest


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `masks` with one table a shard."""
    work = _Segmentation(config.segment, inputs["images"])
    shards = ShardMap(inputs["boxes"], outputs["masks"], BOXES, MASKS, digest("segment/1", config.segment))
    counts = shards.run(work.transform, context)
    return StageResult(metrics=_metrics(counts))


class _Segmentation:
    def __init__(self, config: SegmentConfig, images: Path) -> None:
        self._config, self._images = config, images
        self._store = ImageStore(images.parent)

    @cached_property
    def _segmenter(self) -> Segmenter:
        return build_segmenter(self._config)

    @cached_property
    def _file_truth(self) -> Truth:
        return read_truth(self._images)

    def transform(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Counts]:
        """Box rows of a shard -> its mask rows."""
        masks: list[Row] = []
        counts = Tally(masks=len(rows))
        truth = self._truth(rows)
        for group in by_image(rows).values():
            image = np.asarray(self._store.read(group[0]["shard"], group[0]["image"]))
            segments = self._segmenter.segment(image, [tuple(row["box"]) for row in group])
            masks.extend(self._row(row, segment) for row, segment in zip(group, segments, strict=True))
            instances = truth.get(group[0]["url"], ())
            for iou in match_truth([row["box"] for row in group], [item.mask for item in segments], instances):
                counts.add({"unmatched": 1} if iou is None else {"matched": 1, "iou_sum": iou})
        return masks, counts

    def _truth(self, rows: Sequence[Row]) -> Truth:
        """The file's truth, or the masks among the annotations that were ingested with the shard's images."""
        if self._file_truth or not rows:
            return self._file_truth
        table = self._images.parent / Path(rows[0]["shard"]).with_suffix(".parquet")
        return annotated_truth(read_rows(table, INGEST))

    def _row(self, row: Row, segment: Segment) -> Row:
        return row | {
            "rle_counts": encode_rle(segment.mask)["counts"],
            "predicted_iou": segment.predicted_iou,
            "stability": segment.stability,
            "segmenter": self._segmenter.name,
        }


def _metrics(counts: Tally) -> dict[str, float]:
    metrics = {"masks": counts["masks"]}
    if counts["matched"]:
        metrics["mask_iou"] = counts["iou_sum"] / counts["matched"]
        metrics["matched_share"] = counts["matched"] / counts["masks"]
    return metrics
