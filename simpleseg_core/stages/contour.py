"""The stage from masks to polygons, through the filters."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from simpleseg_core.annotate import Contoured, MaskCandidate, contour_image, funnel
from simpleseg_core.config import Config, ContourConfig
from simpleseg_core.data.records import MASKS, POLYGONS
from simpleseg_core.geometry import decode_rle, encode_rle
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.stages._shards import Counts, Row, ShardMap, Tally, by_image, digest


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `polygons` with one table a shard; the funnel says what each filter dropped."""
    work = _Contour(config.contour, config.seed)
    mark = digest("contour/1", config.contour, config.seed)
    counts = ShardMap(inputs["masks"], outputs["polygons"], MASKS, POLYGONS, mark).run(work.transform, context)
    kept = max(1.0, counts["kept"])
    metrics = {
        "detected": counts["detected"],
        "kept": counts["kept"],
        "kept_share": counts["kept"] / max(1.0, counts["detected"]),
        "points": counts["points"] / kept,
        "roundtrip_iou": counts["iou_sum"] / kept,
    }
    return StageResult(metrics=metrics, tables={"funnel": funnel(int(counts["detected"]), counts)})


class _Contour:
    def __init__(self, config: ContourConfig, seed: int) -> None:
        self._config, self._seed = config, seed

    def transform(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Counts]:
        """Mask rows of a shard -> its polygon rows."""
        kept: list[Row] = []
        counts = Tally(detected=len(rows))
        for image, group in by_image(rows).items():
            rng = np.random.default_rng([self._seed, crc32(image.encode())])
            passed, dropped = contour_image([_candidate(row) for row in group], self._config, rng)
            kept.extend(_row(group[item.index], item) for item in passed)
            counts.add(dropped)
        counts.add({"kept": len(kept)})
        for row in kept:
            counts.add({"points": row["points"], "iou_sum": row["roundtrip_iou"]})
        return kept, counts


def _candidate(row: Row) -> MaskCandidate:
    mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
    left, top, right, bottom = row["box"]
    return MaskCandidate(
        row["phrase"], (left, top, right, bottom), row["score"], mask, row["predicted_iou"], row["stability"]
    )


def _row(row: Row, item: Contoured) -> Row:
    return row | {
        "rle_counts": encode_rle(item.mask)["counts"],
        "point": list(item.point),
        "polygons": [polygon.tolist() for polygon in item.polygons],
        "points": sum(len(polygon) for polygon in item.polygons),
        "roundtrip_iou": item.roundtrip_iou,
    }
