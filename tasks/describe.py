"""The stage from polygons to descriptions: one referring expression for each instance."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from simpleseg_core.annotate import Annotated, Describer, Description, Instance, build_describer
from simpleseg_core.annotate.annotations import phrases_beside
from simpleseg_core.annotate.describe import AMBIGUOUS
from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.records import DESCRIPTIONS, POLYGONS
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export import Annotations, write_sheets
from simpleseg_core.fingerprint import Input, fingerprint, weights
from tasks.shards.ingested import Ingested
from tasks.shards.parts import ImageResult, Loaded, Row, Tally, load_image
from tasks.shards.shard_map import ShardMap, left_out, provenance, run_shards

_REJECTIONS = ("unusable", "inconsistent")
"""Why a text by the model is not used: it is no noun phrase, or the detector does not find the instance by it."""
_SHEETS = 8
"""Contact sheets that a run shows; every shard has one beside its table."""
_BY = "by "
"""Before the name of a describer: a count of the descriptions that it wrote."""


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `descriptions` with one table a shard."""
    section = config.describe
    shards = ShardMap(
        inputs["polygons"],
        outputs["descriptions"],
        POLYGONS,
        DESCRIPTIONS,
        fingerprint(stage="describe/3", **_settings(config)),
        provenance("describe", section),
    )
    store = ImageStore(inputs["images"].parent)
    step = _Describe(config, store, inputs["images"])
    counts, speed = run_shards(shards, step, section, config.ray, context)
    annotations = Annotations.open(outputs["descriptions"].parent, outputs["descriptions"].name)
    sheets = write_sheets(annotations, outputs["descriptions"], store, config.seed, context.progress)
    total = counts["described"]
    by_source = [
        {"source": name.removeprefix(_BY), "instances": int(count)}
        for name, count in sorted(counts.items())
        if name.startswith(_BY)
    ]
    metrics = {"described": total, "ambiguous_share": counts[_BY + AMBIGUOUS] / max(1.0, total)}
    if section.loads_model:
        metrics |= {f"{name}_share": counts[name] / max(1.0, total) for name in _REJECTIONS}
    tables = {"sources": by_source} | left_out(counts)
    if rejected := _rejected(counts):
        tables["rejected"] = rejected
    images = {f"sheet_{path.stem}": path for path in sheets[:_SHEETS]}
    return StageResult(metrics=metrics | speed.metrics(), tables=tables, images=images)


def _settings(config: Config) -> dict[str, Input]:
    """What descriptions depend on; the detector only where it checks them."""
    section, detect = config.describe, config.detect
    written: dict[str, Input] = {"section": section, "model": weights(section.model, loaded=section.loads_model)}
    if not section.is_checked:
        return written
    return written | {"detect": detect, "detector": weights(detect.model, loaded=detect.loads_model)}


def _rejected(counts: Tally) -> list[dict[str, object]]:
    """Texts by the model that were not used, by reason."""
    return [{"reason": name, "instances": int(counts[name])} for name in _REJECTIONS if counts[name]]


class _Describe:
    def __init__(self, config: Config, store: ImageStore, images: Path) -> None:
        self._config, self._store, self._ingested = config, store, Ingested(images)

    def open(self) -> None:
        """Load the describer."""
        self._describer  # noqa: B018

    @cached_property
    def _describer(self) -> Describer:
        return build_describer(self._config.describe, self._config.detect)

    def close(self) -> None:
        """Give the describer's memory back."""
        self._describer.close()

    def load(self, rows: Sequence[Row]) -> Loaded:
        """Decode an image; with it comes what else was annotated in it, whose names are not unique."""
        others = phrases_beside([row["phrase"] for row in rows], self._ingested.of(rows[0])["annotations"] or "")
        return replace(load_image(self._store, rows), others=others)

    def apply(self, items: Sequence[Loaded]) -> list[ImageResult]:
        """Polygon rows of some images -> their description rows."""
        scenes = [Annotated(item.pixels, [_instance(row) for row in item.rows], item.others) for item in items]
        found = self._describer.describe(scenes)
        return [_result(item.rows, descriptions) for item, descriptions in zip(items, found, strict=True)]


def _result(rows: Sequence[Row], descriptions: Sequence[Description]) -> ImageResult:
    counts = Tally(described=len(rows))
    described = []
    for row, item in zip(rows, descriptions, strict=True):
        written = {"description": item.text, "description_source": item.source, "consistency": item.consistency}
        described.append(row | written)
        counts.add({_BY + item.source: 1} | ({item.rejected: 1} if item.rejected else {}))
    return described, counts


def _instance(row: Row) -> Instance:
    left, top, right, bottom = row["box"]
    return Instance(row["phrase"], (left, top, right, bottom), row_mask(row))
