"""The data engine: detector, segmenter, contour and description settings."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from simpleseg_core.config._base import Operational, Section
from simpleseg_core.kinds import DESCRIBERS, DETECTORS, SEGMENTERS

DetectorName = Annotated[str, AfterValidator(DETECTORS.known), WithJsonSchema(DETECTORS.schema())]
SegmenterName = Annotated[str, AfterValidator(SEGMENTERS.known), WithJsonSchema(SEGMENTERS.schema())]
DescriberName = Annotated[str, AfterValidator(DESCRIBERS.known), WithJsonSchema(DESCRIBERS.schema())]
Holes = Literal["bridge", "drop"]
Order = Literal["clockwise", "counter_clockwise", "shuffled", "by_x"]


class RunConfig(Section):
    """Who does the work of a stage; the result is the same whoever does."""

    runner: Operational[Literal["local", "ray"]] = "local"
    """`ray`: Ray Data, images decoded on CPUs while `workers` engines work, on a GPU each where there are some."""
    workers: Operational[int] = Field(1, gt=0, le=10_000)
    """Engines side by side under Ray; fewer where it has no room for so many."""
    device_hour_price: Operational[float] = Field(2.0, ge=0)
    """What an engine's device costs an hour, for the estimate of the cost of a million images."""

    @field_validator("device", check_fields=False)  # of the stages that have one
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", device):
            raise ValueError(f"{device!r} is no device: auto, cpu, cuda, cuda:0 or mps")
        return device

    @property
    def on_gpu(self) -> bool:
        """Whether the engine has a use for a GPU."""
        return False


class DetectConfig(RunConfig):
    """Phrases -> boxes."""

    engine: DetectorName = "embedded"
    """`annotations` passes on boxes that came with the data; `embedded` does so too where there are some, and else
    finds the shapes of RefShapes phrases: it needs no weights."""
    model: str = "IDEA-Research/grounding-dino-base"
    """Hub id or local folder (transformers), or checkpoint file (groundingdino)."""
    config_file: str | None = None
    """Python-free model configuration of groundingdino-py: a built-in name such as `swin_t`."""
    phrases: Literal["caption", "vocabulary", "both"] = "caption"
    """What Grounding-DINO looks for: the noun phrases of each caption, the vocabulary, or both."""
    vocabulary: tuple[str, ...] = ()
    """Phrases looked for in every image; more than one prompt holds are split over several, and their boxes merged."""
    box_threshold: float = Field(0.35, ge=0, le=1)
    text_threshold: float = Field(0.25, ge=0, le=1)
    nms_iou: float = Field(0.7, gt=0, le=1)
    batch_size: Operational[int] = Field(8, gt=0)
    device: Operational[str] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrices are multiplied in; `bfloat16` is several times faster on a GPU and moves scores by a percent."""

    @model_validator(mode="after")
    def _vocabulary_is_there(self) -> Self:
        blank = [phrase for phrase in self.vocabulary if not phrase.strip()]
        if blank:
            raise ValueError("vocabulary: a phrase is empty: remove it")
        if self.phrases != "caption" and not self.vocabulary:
            raise ValueError(
                f"vocabulary: empty, but phrases is {self.phrases}: list phrases, or set phrases to caption"
            )
        if self.phrases != "caption" and not DETECTORS.load(self.engine).any_phrase:
            raise ValueError(f"phrases: the engine {self.engine} knows no vocabulary: set phrases to caption")
        return self

    @property
    def on_gpu(self) -> bool:
        return self.loads_model and self.device != "cpu"

    @property
    def loads_model(self) -> bool:
        """Whether the engine needs `model`."""
        return DETECTORS.load(self.engine).weights

    @property
    def reads_text(self) -> bool:
        """Whether the engine looks at what captions and phrases say."""
        return DETECTORS.load(self.engine).reads_text


class SegmentConfig(RunConfig):
    """Boxes -> masks."""

    engine: SegmenterName = "grabcut"
    model: str = "facebook/sam-vit-huge"
    model_type: Literal["vit_b", "vit_l", "vit_h"] = "vit_h"
    """Architecture of a segment-anything checkpoint."""
    prompt: Literal["box", "point", "box+point", "box+mask"] = "box"
    """What SAM is given of each detection: its box, the middle of it, both, or the box and then once more with the mask
    that came of it."""
    grabcut_iterations: int = Field(5, gt=0, le=1000)
    batch_size: Operational[int] = Field(16, gt=0)
    """Prompts of one image that are decoded together."""
    device: Operational[str] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What matrices are multiplied in; `bfloat16` is several times faster on a GPU and moves scores by a percent."""
    clip: str | None = None
    """Hub id or local folder of a CLIP that says how well each crop fits its phrase (for `contour.min_similarity`)."""

    @model_validator(mode="after")
    def _prompt_is_known(self) -> Self:
        if self.prompt != "box" and not SEGMENTERS.load(self.engine).promptable:
            raise ValueError(f"prompt: {self.engine} starts from boxes only, not {self.prompt}: set it to box")
        return self

    @property
    def on_gpu(self) -> bool:
        return (self.loads_model or self.clip is not None) and self.device != "cpu"

    @property
    def loads_model(self) -> bool:
        """Whether the engine needs `model`."""
        return SEGMENTERS.load(self.engine).weights


class ContourConfig(RunConfig):
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
    min_similarity: float | None = Field(None, ge=-1, le=1)
    """Least cosine of phrase and crop by the CLIP `segment.clip`; unset: any. About 0.2 for CLIP ViT-B/32."""
    min_roundtrip_iou: float = Field(0.8, ge=0, le=1)
    """Polygons that rebuild their mask worse than this are dropped."""


class DescribeConfig(RunConfig):
    """Instances -> one referring description each."""

    engine: DescriberName = "caption"
    """`caption` uses the detector's phrase (made unambiguous by position and size); `vlm` asks a model through vLLM."""
    model: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    prompt: str = Field("describe_v1", pattern=r"^\w{1,100}$")
    """Name of the prompt file shipped with the package."""
    min_consistency: float = Field(0.5, ge=0, le=1)
    """A written description is kept when the detector, given it, finds the instance: least IoU of the boxes. 0 checks
    nothing, which `detect.engine: annotations` needs, for it looks at no text."""
    max_tokens: int = Field(48, gt=0)
    max_length: int = Field(4096, gt=0)
    """Tokens of the prompt, the crop and the description together."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch_size: Operational[int] = Field(32, gt=0)
    """Instances that the engine works on at once."""
    kv_cache_mib: Operational[int] = Field(128, gt=0)
    """vLLM's cache on a CPU."""
    gpu_memory_utilization: Operational[float] = Field(0.7, gt=0, le=1)
    """Share of the GPU's memory for vLLM; the detector that checks descriptions needs some of the rest."""

    @property
    def on_gpu(self) -> bool:
        return self.loads_model

    @property
    def loads_model(self) -> bool:
        """Whether `model` writes, which may say what is no good."""
        return DESCRIBERS.load(self.engine).weights

    @property
    def is_checked(self) -> bool:
        """Whether the detector has to find each instance by its description."""
        return self.min_consistency > 0 and self.loads_model
