"""What a stage does with a shard: in parts of some images each, loaded by one function, worked on by another."""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simpleseg_core.annotate import Image
from simpleseg_core.annotate.gold_masks import GoldMask
from simpleseg_core.data.shards import ImageStore

Row = dict[str, Any]
Counts = Mapping[str, float]
ImageResult = tuple[Sequence[Row], Counts]
"""The rows that came of one image, and what was counted on the way."""

_IMAGES = 32
"""Images of a part: what is in memory at once, and what an engine may batch."""
IMAGES, UNREADABLE, FAILED = "images", "unreadable", "failed"
"""Counts that every stage keeps: images, those that could not be loaded, and those that the engine failed on."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """The rows of one image and its pixels, uint8 (H, W, 3) RGB; None for a stage that needs none."""

    rows: Sequence[Row]
    image: Image | None = None
    gold: Sequence[GoldMask] = ()
    """The exact masks, where they are known and wanted."""
    others: Sequence[str] = ()
    """Phrases of what is in the image and in none of the rows, where that is known and wanted."""

    @property
    def pixels(self) -> Image:
        """The image of a stage that loads some."""
        if self.image is None:
            raise ValueError(f"image {self.rows[0]['image']} was not loaded")
        return self.image


class Step(Protocol):
    """What a stage does with images. It travels to other processes: `open` builds there what cannot travel."""

    def open(self) -> None:
        """Load the engine."""

    def close(self) -> None:
        """Give back what the engine holds."""

    def load(self, rows: Sequence[Row]) -> Loaded:
        """Prepare one image; work for a CPU."""

    def apply(self, items: Sequence[Loaded]) -> Sequence[ImageResult]:
        """Work on some images together; one result for each, which must not depend on the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some images of a shard: the rows of each."""

    shard: str
    number: int
    count: int
    """Parts of the shard."""
    groups: Sequence[Sequence[Row]]


@dataclass(frozen=True, slots=True)
class ImageFailure:
    """An image that could not be used, and why."""

    image: str
    reason: str

    def __str__(self) -> str:
        return f"image {self.image}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPart:
    """A part whose images are loaded; for an image that could not be, the reason why."""

    part: Part
    items: Sequence[Loaded | ImageFailure]


@dataclass(frozen=True, slots=True, eq=False)
class DonePart:
    """The rows of a part, what was counted, and how long the engine was busy with it."""

    shard: str
    number: int
    count: int
    rows: Sequence[Row]
    counts: Counts
    failures: Sequence[ImageFailure]
    seconds: float
    engine: str
    """The process that held the engine."""


def split(path: Path, rows: Sequence[Row]) -> Iterator[Part]:
    """The images of a shard in parts; one empty part where there is none. Rows that brought no image are left out."""
    groups = list(by_image([row for row in rows if row.get("status", "ok") == "ok"]).values())
    starts = range(0, max(1, len(groups)), _IMAGES)
    for number, start in enumerate(starts):
        yield Part(path.name, number, len(starts), groups[start : start + _IMAGES])


def load(step: Step, part: Part) -> LoadedPart:
    """Prepare the images of a part."""
    return LoadedPart(part, [_load(step, rows) for rows in part.groups])


def _load(step: Step, rows: Sequence[Row]) -> Loaded | ImageFailure:
    try:
        return step.load(rows)
    except Exception as error:  # whatever is wrong with one image must not stop the others
        return _failure(rows, error)


def finish(step: Step, loaded: LoadedPart) -> DonePart:
    """Work on the images of a part; where the engine fails on them together, on each alone."""
    start = time.perf_counter()
    part = loaded.part
    unreadable = [item for item in loaded.items if isinstance(item, ImageFailure)]
    results = _apply(step, [item for item in loaded.items if isinstance(item, Loaded)])
    failed = [item for item in results if isinstance(item, ImageFailure)]
    rows: list[Row] = []
    counts = Tally({IMAGES: len(part.groups)})
    for result in results:
        if not isinstance(result, ImageFailure):
            rows.extend(result[0])
            counts.add(result[1])
    counts.add({name: len(found) for name, found in ((UNREADABLE, unreadable), (FAILED, failed)) if found})
    seconds = time.perf_counter() - start
    failures, engine = [*unreadable, *failed], f"{platform.node()}/{os.getpid()}"
    return DonePart(part.shard, part.number, part.count, rows, counts, failures, seconds, engine)


def _apply(step: Step, items: Sequence[Loaded]) -> Sequence[ImageResult | ImageFailure]:
    if not items:
        return []
    try:
        return step.apply(items)
    except Exception as error:  # the engines are other people's code
        if len(items) == 1:
            return [_failure(items[0].rows, error)]
        return [result for item in items for result in _apply(step, [item])]


def _failure(rows: Sequence[Row], error: Exception) -> ImageFailure:
    return ImageFailure(rows[0]["image"], f"{type(error).__name__}: {error}")


class Tally(dict[str, float]):
    """Named sums; what was never counted is 0."""

    def __missing__(self, name: str) -> float:
        return 0

    def add(self, counts: Counts) -> None:
        """Add to each sum."""
        for name, value in counts.items():
            self[name] += value


def by_image(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows grouped by image, images in the order in which they first appear."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["image"], []).append(row)
    return groups


def load_image(store: ImageStore, rows: Sequence[Row]) -> Loaded:
    """The rows of one image with its pixels."""
    return Loaded(rows, np.asarray(store.read(rows[0]["shard"], rows[0]["image"])))
