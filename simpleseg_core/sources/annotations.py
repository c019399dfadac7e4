"""What our own annotation pipeline gives to the dataset: its descriptions, with the outlines it traced."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from simpleseg_core.annotate.describe import AMBIGUOUS
from simpleseg_core.data.outlines import row_mask, row_polygons
from simpleseg_core.data.records import DESCRIPTIONS, INGEST, read_rows
from simpleseg_core.data.shards import ImageStore, shard_tables
from simpleseg_core.instructions.labels import LabelledImage, Labels, Reference, Target
from simpleseg_core.sources._pinned import pinned

Row = Mapping[str, Any]


def annotation_images(descriptions: Path, ingested: Path) -> Iterator[LabelledImage]:
    """Images of our own annotation pipeline, a shard at a time."""
    tables, shards = shard_tables(descriptions), shard_tables(ingested)
    phashes = {row["image"]: row["phash"] or "" for path in shards for row in read_rows(path, INGEST) if row["image"]}
    images = chain.from_iterable(described_images(read_rows(path, DESCRIPTIONS), phashes) for path in tables)
    return pinned(images, ImageStore(ingested.parent))


def described_images(rows: Sequence[Row], phashes: Mapping[str, str]) -> Iterator[LabelledImage]:
    """Images of our own annotation pipeline, one for each group of description rows.

    Args:
        rows: of the descriptions table, those of one image together.
        phashes: of each image, by key.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["image"], []).append(row)
    for image, group in groups.items():
        first = group[0]
        references = [
            Reference(row["description"], (index,), "description")
            for index, row in enumerate(group)
            if row["description_source"] != AMBIGUOUS
        ]
        labels = Labels([_target(row) for row in group], references)
        phash = phashes.get(image, "")
        yield LabelledImage(image, first["shard"], first["width"], first["height"], phash, "annotations", labels)


def _target(row: Row) -> Target:
    return Target(row["phrase"], row_mask(row), tuple(row["box"]), tuple(row["point"]), row_polygons(row))
