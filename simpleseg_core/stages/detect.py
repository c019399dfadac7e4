"""The stage from images to boxes: the phrases of each caption, found by the configured detector."""

from collections.abc import Iterator, Sequence
from functools import cached_property

from simpleseg_core.annotate import Detection, Detector, Picture, build_detector
from simpleseg_core.annotate.given import AnnotationsDetector
from simpleseg_core.config import Config, DetectConfig
from simpleseg_core.data.records import BOXES, INGEST
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.stages._parts import Loaded, Outcome, Row, load_image
from simpleseg_core.stages._shards import ShardMap, digest, left_out, provenance, run_shards


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `boxes` with one table a shard."""
    section = config.detect
    shards = ShardMap(
        inputs["images"], outputs["boxes"], INGEST, BOXES, digest("detect/2", section), provenance("detect", section)
    )
    step = _Detect(section, ImageStore(inputs["images"].parent))
    counts, speed = run_shards(shards, step, section, config.ray, context)
    images, boxes = counts["images"], counts["boxes"]
    metrics = {"images": images, "boxes": boxes, "boxes_per_image": boxes / max(1, images)}
    return StageResult(metrics=metrics | speed.metrics(), tables=left_out(counts))


class _Detect:
    def __init__(self, config: DetectConfig, store: ImageStore) -> None:
        self._config, self._store = config, store

    def open(self) -> None:
        """Load the detector."""
        self._configured  # noqa: B018

    @cached_property
    def _configured(self) -> Detector:
        return build_detector(self._config)

    def close(self) -> None:
        """Nothing to give back."""

    def load(self, rows: Sequence[Row]) -> Loaded:
        """Decode an image."""
        return load_image(self._store, rows)

    def apply(self, items: Sequence[Loaded]) -> list[Outcome]:
        """Ingest rows -> box rows."""
        if self._config.engine != "embedded":
            return _detect(self._configured, items)
        # Boxes that came with the data are better than any that need no weights.
        detectors = [AnnotationsDetector() if item.rows[0]["annotations"] else self._configured for item in items]
        return [_detect(detector, [item])[0] for detector, item in zip(detectors, items, strict=True)]


def _detect(detector: Detector, items: Sequence[Loaded]) -> list[Outcome]:
    found = detector.detect([_picture(item) for item in items])
    rows = [list(_rows(item.rows[0], some, detector.name)) for item, some in zip(items, found, strict=True)]
    return [(boxes, {"boxes": len(boxes)}) for boxes in rows]


def _picture(item: Loaded) -> Picture:
    row = item.rows[0]
    return Picture(item.pixels, row["text"] or "", row["annotations"] or "")


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
