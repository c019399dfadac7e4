"""How instances become instruction pairs."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from simpleseg_core.config._base import Section

Style = Literal["unit", "permille"]
Task = Literal[
    "text->mask", "text->bbox", "text->point", "point->mask", "bbox->mask", "mask->text", "point->text", "bbox->text",
    "point->bbox", "bbox->point", "mask->bbox", "mask->point", "caption", "count", "locate",
]  # fmt: skip


class DatasetConfig(Section):
    """Grammar and composition of the instruction pairs."""

    style: Style = "permille"
    """`permille` is compact (integers 0-1000); `unit` is the published grammar of the released weights."""
    published_templates: bool = False
    """Use the seven published questions and five answers instead of ours."""
    template_variety: int = Field(2, ge=1)
    """How many of our own question wordings are used for each task."""
    max_turns: int = Field(4, ge=1, le=1000)
    """Questions about one image packed into one training conversation."""
    passes: int = Field(1, ge=1, le=1000)
    """Times every expression of the SFT set is visited (the paper: 2)."""
    pretrain_weights: dict[Task, float] = {
        "text->mask": 1, "text->bbox": 2, "text->point": 2, "point->mask": 1, "bbox->mask": 1, "point->text": 2,
        "bbox->text": 1, "caption": 1,
    }  # fmt: skip
    """Relative frequency of each task in the pre-training set."""
    sft_weights: dict[Task, float] = {"text->mask": 1.0}
    source_weights: dict[str, float] = {}
    """Source (a set of `data.referring`, `refshapes`, `coco`, `annotations`) -> how often each of its images is visited
    in a pass, in training and in RL; 1 when not named, 0 leaves it out. Naming `refshapes` or `coco` beside
    `data.referring` adds it."""
    leakage_filter: bool = True
    """Drop training images that a validation or test split of any set in use shows, by id and by perceptual hash.
    `false` is the published composition; what it leaks is reported either way."""
    max_answer_tokens: int = Field(512, gt=0)
    """Answers longer than this get a coarser polygon, not a cut one."""

    @field_validator("pretrain_weights", "sft_weights")
    @classmethod
    def _weights_are_positive(cls, weights: dict[Task, float]) -> dict[Task, float]:
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ValueError("task weights must be non-negative with a positive sum: name at least one task")
        return weights

    @field_validator("source_weights")
    @classmethod
    def _sources_are_not_negative(cls, weights: dict[str, float]) -> dict[str, float]:
        if negative := sorted(source for source, weight in weights.items() if not weight >= 0):
            raise ValueError(f"the weight of {', '.join(negative)} is negative: 0 leaves a source out")
        return weights

    @model_validator(mode="after")
    def _published_grammar(self) -> "DatasetConfig":
        if self.published_templates and self.style != "unit":
            raise ValueError(
                "dataset.published_templates needs dataset.style: unit, the grammar of the released weights"
            )
        return self
