"""Builds the engine that the configuration names; heavy libraries are imported only for the engines that need them."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Describer, Detector, Segmenter
from simpleseg_core.config import DescribeConfig, DetectConfig, SegmentConfig

if TYPE_CHECKING:
    from simpleseg_core.annotate.clip import Clip


def build_detector(config: DetectConfig) -> Detector:
    """The detector `detect.engine`, its weights loaded."""
    match config.engine:
        case "embedded":
            from simpleseg_core.annotate.shapes import ShapeDetector

            return ShapeDetector(config.box_threshold)
        case "annotations":
            from simpleseg_core.annotate.given import AnnotationsDetector

            return AnnotationsDetector()
        case "groundingdino":
            from simpleseg_core.annotate.grounding_dino import GroundingDinoPy

            return GroundingDinoPy.load(config)
        case "transformers":
            from simpleseg_core.annotate.grounding_dino import TransformersGroundingDino

            return TransformersGroundingDino.load(config)


def build_segmenter(config: SegmentConfig) -> Segmenter:
    """The segmenter `segment.engine`, its weights loaded."""
    match config.engine:
        case "grabcut":
            from simpleseg_core.annotate.grabcut import GrabCutSegmenter

            return GrabCutSegmenter(config.grabcut_iterations)
        case "segment_anything":
            from simpleseg_core.annotate.sam import SegmentAnything

            return SegmentAnything.load(config)
        case "sam" | "sam2":
            from simpleseg_core.annotate.sam import TransformersSam

            return TransformersSam.load(config)


def build_clip(config: SegmentConfig) -> "Clip | None":
    """The model `segment.clip`, its weights loaded; None where none is named."""
    if config.clip is None:
        return None
    from simpleseg_core.annotate.clip import Clip

    return Clip.load(config.clip, config.device, config.batch_size)


def build_describer(config: DescribeConfig, detect: DetectConfig) -> Describer:
    """The describer `describe.engine`, its weights loaded; the detector `detect` checks what it writes.

    Raises:
        ValueError: the detector looks at no text, so that it cannot check any.
    """
    match config.engine:
        case "caption":
            from simpleseg_core.annotate.describe import CaptionDescriber

            return CaptionDescriber()
        case "vlm":
            from simpleseg_core.annotate.describe_vlm import VlmDescriber

            if config.min_consistency > 0 and detect.engine == "annotations":
                raise ValueError(
                    "describe.min_consistency: detect.engine is annotations, which looks at no text: choose another "
                    "engine, or set the bound to 0"
                )
            return VlmDescriber.load(config, build_detector(detect) if config.min_consistency > 0 else None)
