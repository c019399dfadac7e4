"""The formats by name: one call fills a new folder with one of them."""

from pathlib import Path
from typing import Literal

from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export._annotations import Annotations, copy_images
from simpleseg_core.export._folder import new_folder
from simpleseg_core.export.coco import Segmentation, export_coco
from simpleseg_core.export.hugging_face import export_hugging_face
from simpleseg_core.export.labelme import export_labelme
from simpleseg_core.export.sheets import write_sheets
from simpleseg_core.stages import NullProgress, Progress

Format = Literal["coco", "labelme", "hf", "sheets"]


def export_folder(
    format_: Format,
    annotations: Annotations,
    folder: Path,
    masks: Segmentation = "polygons",
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Fill a new folder, whole or not at all, with annotations and their images.

    Args:
        masks: how `coco` writes masks.
        seed: of the random instances of `sheets`.

    Returns:
        What was written, and how much of it.

    Raises:
        ValueError: the folder is there already, or an image in a shard is none.
        KeyError: tables and shards come from different runs.
    """
    images, watch = ImageStore(annotations.data), progress or NullProgress()
    with new_folder(folder) as new:
        match format_:
            case "coco":
                place = copy_images(images, new, "images")
                return export_coco(annotations, new / "instances.json", place, masks, watch)
            case "labelme":
                return export_labelme(annotations, new, copy_images(images, new), watch)
            case "hf":
                return export_hugging_face(annotations, new, images, watch)
            case "sheets":
                return {"sheets": len(write_sheets(annotations, new, images, seed, watch))}
