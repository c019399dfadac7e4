"""Annotations for other tools: COCO, labelme, Hugging Face parquet, and contact sheets to look at."""

from simpleseg_core.export._annotations import (
    AnnotatedImage,
    Annotations,
    ImageSource,
    Place,
    copy_images,
)
from simpleseg_core.export.categories import Categories, by_file, by_noun, by_phrase
from simpleseg_core.export.formats import Segmentation, export_folder
from simpleseg_core.export.formats.coco import export_coco
from simpleseg_core.export.formats.hf import export_hugging_face
from simpleseg_core.export.formats.labelme import export_labelme
from simpleseg_core.export.formats.sheets import overview_sheet, shard_sheet, write_sheets

__all__ = [
    "AnnotatedImage", "Annotations", "Categories", "ImageSource", "Place", "Segmentation", "by_file",
    "by_noun", "by_phrase", "copy_images", "export_coco", "export_folder", "export_hugging_face", "export_labelme",
    "overview_sheet", "shard_sheet", "write_sheets",
]  # fmt: skip
