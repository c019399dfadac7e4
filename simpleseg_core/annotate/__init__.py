"""The data engine: detectors, segmenters, describers and filters: from captioned images to described instances."""

from simpleseg_core.annotate._protocols import (
    Annotated,
    Box,
    Describer,
    Description,
    Detection,
    Detector,
    Image,
    Instance,
    Mask,
    Picture,
    Prompt,
    PromptableSegmenter,
    Segment,
    Segmenter,
)
from simpleseg_core.annotate.engines import build_clip, build_describer, build_detector, build_segmenter
from simpleseg_core.annotate.filters import REASONS, Contoured, MaskCandidate, contour_image, funnel

__all__ = [
    "REASONS",
    "Annotated",
    "Box",
    "Contoured",
    "Describer",
    "Description",
    "Detection",
    "Detector",
    "Image",
    "Instance",
    "Mask",
    "MaskCandidate",
    "Picture",
    "Prompt",
    "PromptableSegmenter",
    "Segment",
    "Segmenter",
    "build_clip",
    "build_describer",
    "build_detector",
    "build_segmenter",
    "contour_image",
    "funnel",
]
