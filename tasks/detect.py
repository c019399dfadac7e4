"""The stage from images to boxes: the phrases of each caption, found by the configured detector."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from html import unescape

from simpleseg_core.annotate import CaptionedImage, Detection, Detector, build_detector
from simpleseg_core.annotate.annotations import AnnotationsDetector
from simpleseg_core.config import Config, DetectConfig
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.records import BOXES, INGEST
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.fingerprint import fingerprint, weights
from simpleseg_core.kinds import DETECTORS
from tasks.shards.parts import ImageResult, Loaded, Row, load_image
from tasks.shards.shard_map import ShardMap, left_out, provenance, run_shards


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `boxes` with one table a shard."""
    section = config.detect
    shards = ShardMap(
        inputs["images"],
        outputs["boxes"],
        INGEST,
        BOXES,
        fingerprint(stage="detect/3", section=section, model=weights(section.model, loaded=section.loads_model)),
        provenance("detect", section),
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

    def apply(self, items: Sequence[Loaded]) -> list[ImageResult]:
        """Ingest rows -> box rows."""
        if not DETECTORS.load(self._config.engine).takes_boxes:
            return _detect(self._configured, items)
        detectors = [AnnotationsDetector() if item.rows[0]["annotations"] else self._configured for item in items]
        return [_detect(detector, [item])[0] for detector, item in zip(detectors, items, strict=True)]


def _detect(detector: Detector, items: Sequence[Loaded]) -> list[ImageResult]:
    found = detector.detect([_picture(item) for item in items])
    rows = [list(_rows(item.rows[0], some, detector.name)) for item, some in zip(items, found, strict=True)]
    return [(boxes, {"boxes": len(boxes)}) for boxes in rows]


def _picture(item: Loaded) -> CaptionedImage:
    row = item.rows[0]
    return CaptionedImage(item.pixels, _caption(row) or "", row["annotations"] or "")


def _caption(row: Row) -> str | None:
    """The caption with what HTML's entities stand for: web pages write `&amp;`, and nobody says "amp"."""
    return None if row["text"] is None else unescape(row["text"])


def _rows(row: Row, detections: Sequence[Detection], detector: str) -> Iterator[Row]:
    shared = {name: row[name] for name in ("image", "shard", "width", "height", "url", "sha256")}
    for index, item in enumerate(detections):
        yield shared | {
            "instance": f"{row['image']}/{index}",
            "caption": _caption(row),
            "phrase": item.phrase,
            "span_start": item.span[0],
            "span_end": item.span[1],
            "box": list(item.box),
            "score": item.score,
            "detector": detector,
        }
