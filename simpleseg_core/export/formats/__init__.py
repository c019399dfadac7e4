"""The formats of exports, one file each, found by its name: `write` fills a folder with annotations and images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from simpleseg_core.contract import NullProgress, Progress
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export._annotations import Annotations
from simpleseg_core.export._folder import new_folder
from simpleseg_core.export.categories import Categories, by_phrase
from simpleseg_core.kinds import EXPORT_FORMATS

Segmentation = Literal["polygons", "rle"]


@dataclass(frozen=True, slots=True)
class Export:
    """What is written, and how."""

    annotations: Annotations
    images: ImageStore
    masks: Segmentation = "polygons"
    """Outlines as models learn them, or the exact masks, in formats that know both."""
    categories: Categories = by_phrase
    """What phrases are called, in formats with categories."""
    seed: int = 0
    """Of random instances, in formats that show some."""
    progress: Progress = field(default_factory=NullProgress)


ExportFormat = Callable[[Export, Path], dict[str, int]]
"""Fills an empty folder; returns what was written, and how much of it."""


def export_folder(
    format_: str,
    annotations: Annotations,
    folder: Path,
    masks: Segmentation = "polygons",
    categories: Categories = by_phrase,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Fill a new folder, whole or not at all, with annotations and their images.

    Args:
        masks: how `coco` writes masks.
        categories: what `coco` calls the categories of phrases.
        seed: of the random instances of `sheets`.

    Returns:
        What was written, and how much of it.

    Raises:
        ValueError: no such format, the folder is there already, or an image in a shard is none.
        KeyError: tables and shards come from different runs.
    """
    export = Export(annotations, ImageStore(annotations.data), masks, categories, seed, progress or NullProgress())
    write = EXPORT_FORMATS.load(format_)
    with new_folder(folder) as new:
        return write(export, new)
