"""The stage from images to boxes: the phrases of each caption, found by the configured detector."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from simpleseg_core.annotate import Detection, Detector, Picture, build_detector
from simpleseg_core.annotate.given import AnnotationsDetector
from simpleseg_core.config import Config, DetectConfig
from simpleseg_core.data.records import BOXES, INGEST
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.stages._shards import Counts, Row, ShardMap, digest

_CHUNK = 64
"""Images decoded at once; the detector makes its batches of them."""


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `boxes` with one table a shard."""
    work = _Detect(config.detect, ImageStore(inputs["images"].parent))
    shards = ShardMap(inputs["images"], outputs["boxes"], INGEST, BOXES, digest("detect/1", config.detect))
    counts = shards.run(work.transform, context)
    images, boxes = counts["images"], counts["boxes"]
    return StageResult(metrics={"images": images, "boxes": boxes, "boxes_per_image": boxes / max(1, images)})


class _Detect:
    def __init__(self, config: DetectConfig, store: ImageStore) -> None:
        self._config, self._store = config, store

    @cached_property
    def _configured(self) -> Detector:
        return build_detector(self._config)

    def _detector(self, rows: Sequence[Row]) -> Detector:
        """The configured one; but boxes that came with the data are better than any that need no weights."""
        given = any(row["annotations"] for row in rows)
        return AnnotationsDetector() if given and self._config.engine == "embedded" else self._configured

    def transform(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Counts]:
        """Ingest rows of a shard -> its box rows."""
        found = [row for row in rows if row["status"] == "ok"]
        detector = self._detector(found)
        boxes: list[Row] = []
        for start in range(0, len(found), _CHUNK):
            chunk = found[start : start + _CHUNK]
            detections = detector.detect([self._picture(row) for row in chunk])
            for row, items in zip(chunk, detections, strict=True):
                boxes.extend(_rows(row, items, detector.name))
        return boxes, {"images": len(found), "boxes": len(boxes)}

    def _picture(self, row: Row) -> Picture:
        image = np.asarray(self._store.read(row["shard"], row["image"]))
        return Picture(image, row["text"] or "", row["annotations"] or "")


def _rows(row: Row, detections: Sequence[Detection], detector: str) -> Iterator[Row]:
    shared = {name: row[name] for name in ("image", "shard", "width", "height", "url", "sha256")}
    for index, item in enumerate(detections):
        yield shared | {
            "instance": f"{row['image']}/{index}",
            "caption": row["text"],
            "phrase": item.phrase,
            "span_start": item.span[0],
            "span_end": item.span[1],
            "box": list(item.box),
            "score": item.score,
            "detector": detector,
        }
