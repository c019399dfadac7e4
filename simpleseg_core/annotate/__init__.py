"""The data engine, from captioned images to described instances: detectors, segmenters and describers."""

from simpleseg_core.annotate._protocols import (
    Annotated,
    Box,
    CaptionedImage,
    Describer,
    Description,
    Detection,
    Detector,
    Image,
    Instance,
    Mask,
    Prompt,
    Segment,
    Segmenter,
)
from simpleseg_core.annotate.describers import build_describer
from simpleseg_core.annotate.detectors import build_detector
from simpleseg_core.annotate.segmenters import build_clip, build_segmenter

__all__ = [
    "Annotated",
    "Box",
    "CaptionedImage",
    "Describer",
    "Description",
    "Detection",
    "Detector",
    "Image",
    "Instance",
    "Mask",
    "Prompt",
    "Segment",
    "Segmenter",
    "build_clip",
    "build_describer",
    "build_detector",
    "build_segmenter",
]
