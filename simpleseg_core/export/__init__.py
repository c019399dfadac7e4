"""Annotations for other tools: COCO, labelme, Hugging Face parquet, and contact sheets to look at."""

from simpleseg_core.export._annotations import (
    AnnotatedImage,
    Annotations,
    ImageSource,
    Place,
    copy_images,
)
from simpleseg_core.export.coco import Segmentation, export_coco
from simpleseg_core.export.formats import Format, export_folder
from simpleseg_core.export.hugging_face import export_hugging_face
from simpleseg_core.export.labelme import export_labelme
from simpleseg_core.export.sheets import overview_sheet, shard_sheet, write_sheets

__all__ = [
    "AnnotatedImage", "Annotations", "Format", "ImageSource", "Place", "Segmentation", "copy_images", "export_coco",
    "export_folder", "export_hugging_face", "export_labelme", "overview_sheet",
    "shard_sheet", "write_sheets",
]  # fmt: skip
