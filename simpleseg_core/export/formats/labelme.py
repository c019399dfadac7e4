"""labelme: a JSON file beside each image, to correct annotations by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simpleseg_core.contract import NullProgress, Progress
from simpleseg_core.export._annotations import AnnotatedImage, Annotations, Place, Row, copy_images, pixel_outlines
from simpleseg_core.export.formats import Export
from simpleseg_core.files import write_json

_VERSION = "5.5.0"
"""Of the file format; labelme asks for the same major version."""


def export_labelme(
    annotations: Annotations, folder: Path, place: Place, progress: Progress | None = None
) -> dict[str, int]:
    """Write a JSON file for each image, with a polygon shape for each part of each instance.

    The parts of one instance share a `group_id`; the label is the phrase, the description says more. Points are pixels.

    Args:
        place: puts the image file beside its JSON file, which takes the key of the image as its name.

    Returns:
        How many images and shapes were written.
    """
    progress = progress or NullProgress()
    progress.start(annotations.count(), "instances")
    images = shapes = 0
    for image in annotations.images():
        document = _document(image, Path(place(image)).name)
        write_json(folder / f"{image.key}.json", document)
        images += 1
        shapes += len(document["shapes"])
        progress.advance(len(image.instances))
    return {"images": images, "shapes": shapes}


def _document(image: AnnotatedImage, name: str) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": [shape for number, row in enumerate(image.instances) for shape in _shapes(number, row)],
        "imagePath": name,
        "imageData": None,
        "imageHeight": image.height,
        "imageWidth": image.width,
    }


def _shapes(number: int, row: Row) -> Iterator[dict[str, Any]]:
    for outline in pixel_outlines(row):
        yield {
            "label": row["phrase"],
            "points": outline.tolist(),
            "group_id": number,
            "description": row.get("description") or "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }


def write(export: Export, folder: Path) -> dict[str, int]:
    """A JSON file beside each image."""
    return export_labelme(export.annotations, folder, copy_images(export.images, folder), export.progress)
