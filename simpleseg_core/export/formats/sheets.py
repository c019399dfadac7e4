"""Contact sheets: for each shard a page with the instances that look worst by their scores, and some at random."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from simpleseg_core.contract import NullProgress, Progress
from simpleseg_core.data.outlines import row_mask, row_polygons
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export._annotations import Annotations, Row
from simpleseg_core.export.formats import Export
from simpleseg_core.files import replacing
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.viz import InstanceView, RgbImage, instance_sheet

_EACH = 4
"""Instances in each section of a sheet."""
_MARK = "simpleseg.mark"
_SCORES = {"roundtrip_iou": "trip", "score": "box", "predicted_iou": "mask", "stability": "stable"}
"""Columns -> names as short as a caption needs."""


def _least_confident(row: Row) -> float:
    return min(float(row[name]) for name in ("score", "predicted_iou", "stability") if row.get(name) is not None)


_SECTIONS: dict[str, Callable[[Row], float]] = {
    "Polygons that rebuild their mask worst (round trip IoU)": lambda row: float(row["roundtrip_iou"]),
    "Least trusted by detector or segmenter (score, predicted IoU, stability)": _least_confident,
}


def write_sheets(
    annotations: Annotations, folder: Path, images: ImageStore, seed: int, progress: Progress | None = None
) -> list[Path]:
    """Write `folder/NNNNN.png` for every table with instances; a sheet whose table has not changed is kept.

    Returns:
        The sheets, in the order of the tables.
    """
    progress = progress or NullProgress()
    progress.start(len(annotations.tables), "sheets")
    written = []
    for table in annotations.tables:
        file = folder / f"{table.stem}.png"
        mark = fingerprint(sheet="sheet/2", seed=seed, table=table)
        if not _is_finished(file, mark):
            _write(file, mark, annotations, table, images, seed)
        if file.is_file():
            written.append(file)
        progress.advance()
    for stale in set(folder.glob("[0-9]*.png")) - set(written):
        stale.unlink()
    return written


def overview_sheet(annotations: Annotations, images: ImageStore, seed: int) -> RgbImage:
    """The same for all tables together, of which one is in memory at a time: uint8 (h, w, 3) RGB.

    Raises:
        ValueError: no instances.
    """

    def rows() -> Iterator[Row]:
        return (row for image in annotations.images() for row in image.instances)

    return _sheet("all shards", rows, annotations.count(), images, np.random.default_rng(seed))


def shard_sheet(title: str, rows: Sequence[Row], images: ImageStore, rng: np.random.Generator) -> RgbImage:
    """The page of one shard, uint8 (h, w, 3) RGB; no instance is on it twice.

    Raises:
        ValueError: no rows.
    """
    return _sheet(title, lambda: rows, len(rows), images, rng)


def _sheet(
    title: str, rows: Callable[[], Iterable[Row]], count: int, images: ImageStore, rng: np.random.Generator
) -> RgbImage:
    """The page of `count` rows, which can be gone through again and again."""
    sections: dict[str, list[Row]] = {}
    shown: set[str] = set()
    for heading, score in _SECTIONS.items():
        lowest = heapq.nsmallest(_EACH + len(shown), rows(), key=score)
        sections[heading] = [row for row in lowest if row["instance"] not in shown][:_EACH]
        shown |= {row["instance"] for row in sections[heading]}
    wanted = set(rng.permutation(count)[: _EACH + len(shown)].tolist())
    drawn = [row for index, row in enumerate(rows()) if index in wanted and row["instance"] not in shown]
    sections["At random"] = [drawn[index] for index in rng.permutation(len(drawn))[:_EACH]]
    views = {heading: [_view(row, images) for row in chosen] for heading, chosen in sections.items()}
    return instance_sheet(f"{title}: {count} instances", views)


def _write(file: Path, mark: str, annotations: Annotations, table: Path, images: ImageStore, seed: int) -> None:
    rows = [row for image in annotations.read(table) for row in image.instances]
    file.unlink(missing_ok=True)
    if not rows:
        return
    page = shard_sheet(table.stem, rows, images, np.random.default_rng([seed, crc32(table.stem.encode())]))
    info = PngInfo()
    info.add_text(_MARK, mark)
    with replacing(file) as partial:
        Image.fromarray(page).save(partial, format="PNG", pnginfo=info)


def _is_finished(file: Path, mark: str) -> bool:
    if not file.is_file():
        return False
    try:
        with Image.open(file) as picture:
            return picture.info.get(_MARK) == mark
    except OSError:
        return False


def _view(row: Row, images: ImageStore) -> InstanceView:
    return InstanceView(
        image=np.array(images.read(row["shard"], row["image"])),
        mask=row_mask(row),
        polygons=row_polygons(row),
        box=row["box"],
        title=row.get("description") or row["phrase"],
        details=" · ".join(_scores(row)),
    )


def _scores(row: Row) -> Iterator[str]:
    for name, label in _SCORES.items():
        if row.get(name) is not None:
            yield f"{label} {row[name]:.2f}"


def write(export: Export, folder: Path) -> dict[str, int]:
    """`NNNNN.png` for every table."""
    return {"sheets": len(write_sheets(export.annotations, folder, export.images, export.seed, export.progress))}
