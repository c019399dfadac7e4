"""COCO instances JSON, written as a stream: only the categories and the licences are held in memory."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from simpleseg_core.contract import NullProgress, Progress
from simpleseg_core.data.outlines import row_mask, row_rle
from simpleseg_core.export._annotations import (
    AnnotatedImage,
    Annotations,
    Place,
    Row,
    copy_images,
    pixel_outlines,
)
from simpleseg_core.export.categories import Categories, by_phrase
from simpleseg_core.export.formats import Export, Segmentation
from simpleseg_core.files import replacing
from simpleseg_core.geometry import mask_box, polygons_to_mask

_DIGITS = 3
_EXTRAS = ("instance", "phrase", "description", "score", "predicted_iou", "stability", "roundtrip_iou")


def export_coco(
    annotations: Annotations,
    file: Path,
    place: Place,
    segmentation: Segmentation = "polygons",
    categories: Categories = by_phrase,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write an instances.json; boxes and areas are those of the mask that is written.

    Coordinates are pixels on pixel edges, as `pycocotools` reads them. What COCO has no field for (description, scores,
    a point inside, provenance of the image) stands beside its fields, where loaders pass over it.

    Args:
        segmentation: `polygons` for outlines, `rle` for the masks that they were drawn around.
        categories: names the category of each phrase; instances of a phrase without one are left out.

    Returns:
        How many images, annotations and categories were written.

    Raises:
        ValueError: `categories` does not know a phrase.
    """
    names = categories(annotations.phrases())
    numbers = {name: number for number, name in enumerate(sorted(set(filter(None, names.values()))), 1)}
    writer = _Writer({phrase: numbers[name] for phrase, name in names.items() if name}, segmentation, numbers)
    progress = progress or NullProgress()
    progress.start(annotations.count(), "instances")
    with replacing(file) as partial, partial.open("w", encoding="utf-8") as out, _spool(file.parent) as spool:
        out.write('{"info": ' + json.dumps({"description": "instances annotated by simpleseg"}) + ',\n"images": [')
        for image in annotations.images():
            _append(out, writer.image(image, place(image)))
            for row in image.instances:
                if row["phrase"] in writer.category:
                    _append(spool, writer.annotation(row))
            progress.advance(len(image.instances))
        out.write('\n],\n"annotations": [')
        spool.seek(0)
        shutil.copyfileobj(spool, out)
        out.write('\n],\n"licenses": ' + json.dumps(writer.license_table()))
        out.write(',\n"categories": ' + json.dumps(writer.category_table()) + "}\n")
    return {"images": writer.images, "annotations": writer.annotations, "categories": len(writer.categories)}


@dataclass(slots=True)
class _Writer:
    """Numbers images, annotations and licences in the order in which they come."""

    category: Mapping[str, int]
    """Of each phrase, its number."""
    segmentation: Segmentation
    categories: Mapping[str, int]
    """Numbers by name."""
    licenses: dict[str, int] = field(default_factory=dict)
    images: int = 0
    annotations: int = 0

    def image(self, image: AnnotatedImage, name: str) -> dict[str, Any]:
        self.images += 1
        entry: dict[str, Any] = {"id": self.images, "file_name": name, "width": image.width, "height": image.height}
        if image.url:
            entry["coco_url"] = image.url
        if image.license:
            entry["license"] = self.licenses.setdefault(image.license, len(self.licenses) + 1)
        return entry

    def annotation(self, row: Row) -> dict[str, Any]:
        self.annotations += 1
        size = np.array([row["width"], row["height"]])
        exact = self.segmentation == "rle"
        outlines = [] if exact else pixel_outlines(row)
        filled = polygons_to_mask([outline / size for outline in outlines], row["height"], row["width"])
        mask = row_mask(row) if exact else filled
        return {
            "id": self.annotations,
            "image_id": self.images,
            "category_id": self.category[row["phrase"]],
            "segmentation": row_rle(row) if exact else [outline.ravel().tolist() for outline in outlines],
            "area": int(mask.sum()),
            "bbox": _xywh(mask_box(mask), size),
            "iscrowd": 0,
            "point": (np.array(row["point"]) * size).round(_DIGITS).tolist(),
            **{name: _short(row[name]) for name in _EXTRAS if row.get(name) is not None},
        }

    def license_table(self) -> list[dict[str, Any]]:
        return [{"id": number, "name": name, "url": ""} for name, number in self.licenses.items()]

    def category_table(self) -> list[dict[str, Any]]:
        return [{"id": number, "name": name, "supercategory": ""} for name, number in self.categories.items()]


def _xywh(box: np.ndarray | None, size: np.ndarray) -> list[float]:
    """A normalised xyxy box as COCO's x, y, width, height in pixels; of an empty mask all 0, as pycocotools has it."""
    if box is None:
        return [0.0, 0.0, 0.0, 0.0]
    low, high = box.reshape(2, 2) * size
    return [float(value) for value in (*low.round(_DIGITS), *(high - low).round(_DIGITS))]


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _spool(folder: Path) -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)


def _append(file: IO[str], entry: Mapping[str, Any]) -> None:
    """The next entry of a JSON list that is being written, numbered from 1."""
    file.write("\n" if entry["id"] == 1 else ",\n")
    file.write(json.dumps(entry, allow_nan=False))


def write(export: Export, folder: Path) -> dict[str, int]:
    """`instances.json` and `images/`."""
    place = copy_images(export.images, folder, "images")
    file = folder / "instances.json"
    return export_coco(export.annotations, file, place, export.masks, export.categories, export.progress)
