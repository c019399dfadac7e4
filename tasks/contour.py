"""The stage from masks to polygons, through the filters."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from simpleseg_core.annotate.filters import Contoured, MaskCandidate, contour_image, funnel
from simpleseg_core.config import Config, ContourConfig
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.records import MASKS, POLYGONS
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.geometry import encode_rle
from tasks.shards.parts import ImageResult, Loaded, Row, Tally
from tasks.shards.shard_map import ShardMap, left_out, provenance, run_shards


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `polygons` with one table a shard; the funnel says what each filter dropped."""
    section = config.contour
    mark = fingerprint(stage="contour/2", section=section, seed=config.seed)
    shards = ShardMap(inputs["masks"], outputs["polygons"], MASKS, POLYGONS, mark, provenance("contour", section))
    counts, speed = run_shards(shards, _Contour(section, config.seed), section, config.ray, context)
    kept = max(1.0, counts["kept"])
    metrics = {
        "detected": counts["detected"],
        "kept": counts["kept"],
        "kept_share": counts["kept"] / max(1.0, counts["detected"]),
        "points": counts["points"] / kept,
        "roundtrip_iou": counts["iou_sum"] / kept,
    }
    tables = {"funnel": funnel(int(counts["detected"]), counts)} | left_out(counts)
    return StageResult(metrics=metrics | speed.metrics(), tables=tables)


class _Contour:
    def __init__(self, config: ContourConfig, seed: int) -> None:
        self._config, self._seed = config, seed

    def open(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""

    def load(self, rows: Sequence[Row]) -> Loaded:
        """Masks are in the rows."""
        return Loaded(rows)

    def apply(self, items: Sequence[Loaded]) -> list[ImageResult]:
        """Mask rows of some images -> their polygon rows."""
        return [self._contour(item.rows) for item in items]

    def _contour(self, rows: Sequence[Row]) -> ImageResult:
        rng = np.random.default_rng([self._seed, crc32(rows[0]["image"].encode())])
        passed, dropped = contour_image([_candidate(row) for row in rows], self._config, rng)
        kept = [_row(rows[item.index], item) for item in passed]
        counts = Tally(detected=len(rows), kept=len(kept))
        counts.add(dropped)
        for row in kept:
            counts.add({"points": row["points"], "iou_sum": row["roundtrip_iou"]})
        return kept, counts


def _candidate(row: Row) -> MaskCandidate:
    left, top, right, bottom = row["box"]
    return MaskCandidate(
        row["phrase"],
        (left, top, right, bottom),
        row["score"],
        row_mask(row),
        row["predicted_iou"],
        row["stability"],
        row["similarity"],
    )


def _row(row: Row, item: Contoured) -> Row:
    return row | {
        "rle_counts": encode_rle(item.mask)["counts"],
        "point": list(item.point),
        "polygons": [polygon.tolist() for polygon in item.polygons],
        "points": sum(len(polygon) for polygon in item.polygons),
        "roundtrip_iou": item.roundtrip_iou,
    }
