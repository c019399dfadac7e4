"""COCO instances JSON, written as a stream: only the categories and the licences are held in memory."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from simpleseg_core.data.outlines import row_mask, row_polygons, row_rle
from simpleseg_core.export._annotations import (
    AnnotatedImage,
    Annotations,
    Place,
    Row,
)
from simpleseg_core.files import replacing
from simpleseg_core.geometry import mask_box, polygons_to_mask
from simpleseg_core.stages import NullProgress, Progress

Segmentation = Literal["polygons", "rle"]

_DIGITS = 3
"""Of a pixel: vertices lie on thousandths of the image's sides, so nothing is lost."""
_EXTRAS = ("instance", "phrase", "description", "score", "predicted_iou", "stability", "roundtrip_iou")


def export_coco(
    annotations: Annotations,
    file: Path,
    place: Place,
    segmentation: Segmentation = "polygons",
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write an instances.json; every phrase is a category, and boxes and areas are those of the mask that is written.

    Coordinates are pixels on pixel edges, as `pycocotools` reads them. What COCO has no field for (description, scores,
    a point inside, provenance of the image) stands beside its fields, where loaders pass over it.

    Args:
        segmentation: `polygons` for the simplified outlines that models learn, `rle` for the masks before that.

    Returns:
        How many images, annotations and categories were written.
    """
    writer = _Writer({name: number for number, name in enumerate(annotations.phrases(), 1)}, segmentation)
    progress = progress or NullProgress()
    progress.start(annotations.count(), "instances")
    with replacing(file) as partial, partial.open("w", encoding="utf-8") as out, _spool(file.parent) as spool:
        out.write('{"info": ' + json.dumps({"description": "instances annotated by simpleseg"}) + ',\n"images": [')
        for image in annotations.images():
            _append(out, writer.image(image, place(image)))
            for row in image.instances:
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

    categories: Mapping[str, int]
    segmentation: Segmentation
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
        polygons = row_polygons(row)
        exact = self.segmentation == "rle"
        mask = row_mask(row) if exact else polygons_to_mask(polygons, row["height"], row["width"])
        size = np.array([row["width"], row["height"]])
        outlines = [(polygon * size).round(_DIGITS).ravel().tolist() for polygon in polygons]
        return {
            "id": self.annotations,
            "image_id": self.images,
            "category_id": self.categories[row["phrase"]],
            "segmentation": row_rle(row) if exact else outlines,
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
