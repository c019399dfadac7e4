"""The data engine: detector, segmenter, contour and description settings."""

from typing import Literal

from pydantic import Field

from simpleseg_core.config._base import Section

Holes = Literal["bridge", "drop"]
Order = Literal["clockwise", "counter_clockwise", "shuffled", "by_x"]


class DetectConfig(Section):
    """Phrases of the caption -> boxes."""

    engine: Literal["embedded", "annotations", "groundingdino", "transformers"] = "embedded"
    """`annotations` passes on boxes that came with the data; `embedded` does so too where there are some, and else
    finds the shapes of RefShapes phrases: it needs no weights."""
    model: str = "IDEA-Research/grounding-dino-base"
    """Hub id or local folder (transformers), or checkpoint file (groundingdino)."""
    config_file: str | None = None
    """Python-free model configuration of groundingdino-py: a built-in name such as `swin_t`."""
    box_threshold: float = Field(0.35, ge=0, le=1)
    text_threshold: float = Field(0.25, ge=0, le=1)
    nms_iou: float = Field(0.7, gt=0, le=1)
    batch_size: int = Field(8, gt=0)
    device: str = "auto"


class SegmentConfig(Section):
    """Boxes -> masks."""

    engine: Literal["grabcut", "segment_anything", "sam", "sam2"] = "grabcut"
    model: str = "facebook/sam-vit-huge"
    model_type: Literal["vit_b", "vit_l", "vit_h"] = "vit_h"
    """Architecture of a segment-anything checkpoint."""
    grabcut_iterations: int = Field(5, gt=0)
    batch_size: int = Field(16, gt=0)
    """Boxes of one image that are decoded together."""
    device: str = "auto"


class ContourConfig(Section):
    """Masks -> polygons, and the filters that decide which instances are worth training on."""

    tolerance: float = Field(0.005, ge=0, lt=1)
    """Simplification tolerance relative to the outline's perimeter."""
    max_points: int | None = Field(None, ge=3)
    """Cap on the vertices of one instance."""
    holes: Holes = "bridge"
    order: Order = "clockwise"
    min_area: float = Field(0.002, ge=0, lt=1)
    """Smallest mask kept, as a share of the image."""
    max_area: float = Field(0.9, gt=0, le=1)
    min_score: float = Field(0.3, ge=0, le=1)
    min_box_iou: float = Field(0.5, ge=0, le=1)
    """Agreement between the detector's box and the mask's box."""
    min_predicted_iou: float = Field(0.0, ge=0, le=1)
    min_stability: float = Field(0.0, ge=0, le=1)
    duplicate_iou: float = Field(0.8, gt=0, le=1)
    """Two masks of one image that overlap more than this are one instance."""
    min_roundtrip_iou: float = Field(0.8, ge=0, le=1)
    """Polygons that rebuild their mask worse than this are dropped."""


class DescribeConfig(Section):
    """Instances -> one referring description each."""

    engine: Literal["caption", "vlm"] = "caption"
    """`caption` uses the detector's phrase (made unambiguous by position and size); `vlm` asks a model through vLLM."""
    model: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    prompt: str = "describe_v1"
    """Name of the prompt file shipped with the package."""
    max_tokens: int = Field(48, gt=0)
    batch_size: int = Field(32, gt=0)
