"""The stage from polygons to descriptions: one referring expression for each instance."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from simpleseg_core.annotate import Annotated, Describer, Instance, build_describer
from simpleseg_core.config import Config, DescribeConfig
from simpleseg_core.data.records import DESCRIPTIONS, POLYGONS
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.data.views import AMBIGUOUS
from simpleseg_core.geometry import decode_rle
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.stages._shards import Counts, Row, ShardMap, Tally, by_image, digest

_CHUNK = 64
"""Images decoded at once; the describer makes its batches of their instances."""


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `descriptions` with one table a shard."""
    work = _Describe(config.describe, ImageStore(inputs["images"].parent))
    mark = digest("describe/1", config.describe)
    counts = ShardMap(inputs["polygons"], outputs["descriptions"], POLYGONS, DESCRIPTIONS, mark).run(
        work.transform, context
    )
    total = counts["described"]
    by_source = [{"source": name, "instances": int(count)} for name, count in counts.items() if name != "described"]
    metrics = {"described": total, "ambiguous_share": counts[AMBIGUOUS] / max(1.0, total)}
    return StageResult(metrics=metrics, tables={"sources": by_source})


class _Describe:
    def __init__(self, config: DescribeConfig, store: ImageStore) -> None:
        self._config, self._store = config, store

    @cached_property
    def _describer(self) -> Describer:
        return build_describer(self._config)

    def transform(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Counts]:
        """Polygon rows of a shard -> its description rows."""
        groups = list(by_image(rows).values())
        described: list[Row] = []
        for start in range(0, len(groups), _CHUNK):
            described.extend(self._describe(groups[start : start + _CHUNK]))
        counts = Tally(described=len(described))
        for row in described:
            counts.add({row["description_source"]: 1})
        return described, counts

    def _describe(self, groups: Sequence[Sequence[Row]]) -> Iterator[Row]:
        scenes = [self._scene(group) for group in groups]
        for group, descriptions in zip(groups, self._describer.describe(scenes), strict=True):
            for row, description in zip(group, descriptions, strict=True):
                yield row | {"description": description.text, "description_source": description.source}

    def _scene(self, group: Sequence[Row]) -> Annotated:
        image = np.asarray(self._store.read(group[0]["shard"], group[0]["image"]))
        return Annotated(image, [_instance(row) for row in group])


def _instance(row: Row) -> Instance:
    left, top, right, bottom = row["box"]
    mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
    return Instance(row["phrase"], (left, top, right, bottom), mask)
