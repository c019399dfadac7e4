"""Which predictions people should look at: the best, the middling, the worst, and a fair sample."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import polygons_to_mask
from simpleseg_core.grammar import Style, parse_polygons
from simpleseg_core.viz import Probe

Row = Mapping[str, Any]


def extremes(rows: Sequence[Row], count: int) -> dict[str, list[Row]]:
    """`count` rows each with the highest, the most middling and the lowest IoU; ties go to the earlier row.

    Queries without a target are left out: their pictures show nothing.
    """
    ranked = sorted((row for row in rows if row["targets"] > 0), key=lambda row: -row["iou"])
    middle = max(0, (len(ranked) - count) // 2)
    return {"best": ranked[:count], "median": ranked[middle : middle + count], "worst": ranked[::-1][:count]}


def representative(rows: Sequence[Row], count: int, seed: int) -> list[int]:
    """Indices of `count` rows that share out the kinds of query: each kind in turn gives one, drawn from the seed."""
    rng = np.random.default_rng(seed)
    queues: dict[str, list[int]] = {}
    for index in rng.permutation(len(rows)):
        queues.setdefault(rows[index]["kind"], []).append(int(index))
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        for kind in sorted(queues):
            if queues[kind] and len(chosen) < count:
                chosen.append(queues[kind].pop())
    return chosen


def prediction_probe(row: Row, images: ImageStore, style: Style | None = None) -> Probe:
    """A PREDICTIONS row as pictures: image, truth and what the answer says; an unreadable answer says nothing."""
    prediction = polygons_to_mask(parse_polygons(row["answer"], style=style).polygons, row["height"], row["width"])
    verdict = f"IoU {row['iou']:.2f}" if row["valid"] else f"unreadable ({row['error']})"
    picture = np.asarray(images.read(row["shard"], row["image"]))
    return Probe(picture, row_mask(row), prediction, f"{row['expression']} · {verdict}")
