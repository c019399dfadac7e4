"""The procedural referring-segmentation world: how its scenes look and which expressions are asked about them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from simpleseg_core.config._base import Section

_SMALLEST_OUTLINE = 1.1
"""Area of the slimmest shape over its squared radius: two discs of 0.42 radii."""


class ExpressionWeights(Section):
    """How often each kind of expression is drawn; relative weights, those a scene cannot serve are skipped."""

    attribute: float = Field(0.5, ge=0)
    """"red circle", "circle", "red shape"."""
    size: float = Field(0.1, ge=0)
    """"biggest circle", "small red circle"."""
    position: float = Field(0.15, ge=0)
    """"leftmost circle", "circle at the top"."""
    relation: float = Field(0.1, ge=0)
    """"circle left of the blue square"."""
    multiple: float = Field(0.08, ge=0)
    """"all red shapes": two targets or more."""
    none: float = Field(0.07, ge=0)
    """Nothing matches, although the colour is there or the shape is."""

    @model_validator(mode="after")
    def _something_is_asked(self) -> "ExpressionWeights":
        if sum(self.model_dump().values()) <= 0:
            raise ValueError("expression weights: every weight is 0; give at least one kind a positive weight")
        return self


class RefShapesConfig(Section):
    """Scenes of coloured shapes, drawn from a seed."""

    image_size: int = Field(96, ge=48, le=4096)
    """Side of the square image in pixels."""
    max_objects: int = Field(4, ge=1, le=6)
    """Most objects in a scene; fewer are drawn where they would not fit."""
    min_radius: float = Field(0.11, gt=0, lt=0.5)
    """Smallest circumscribed radius of an object, as a share of the image side."""
    max_radius: float = Field(0.24, gt=0, lt=0.5)
    min_visible: float = Field(0.012, gt=0, lt=0.5)
    """Every object shows at least this share of the image."""
    occlusion: float = Field(0.15, ge=0, le=1)
    """Share of the training scenes whose objects may hide one another."""
    backgrounds: Literal["plain", "texture", "mixed"] = "mixed"
    photo_dir: Path | None = None
    """Folder of photographs (JPEG or PNG); half of the `mixed` backgrounds are then crops of them."""
    expressions: ExpressionWeights = ExpressionWeights()
    """The mixture of the val split and of what trains on fresh scenes; testA and testB have their own."""
    sft_expressions: ExpressionWeights | None = None
    """The mixture of the SFT set; unset: `expressions`."""
    rl_expressions: ExpressionWeights | None = None
    """The mixture of the RL prompts; unset: `expressions`. More absent objects than usual teach when to answer `[]`."""

    @model_validator(mode="after")
    def _shapes_are_drawable(self) -> "RefShapesConfig":
        if self.min_radius > self.max_radius:
            raise ValueError(
                f"data.refshapes.min_radius {self.min_radius} is above max_radius {self.max_radius}: swap them"
            )
        if _SMALLEST_OUTLINE * self.min_radius**2 < self.min_visible:
            needed = (self.min_visible / _SMALLEST_OUTLINE) ** 0.5
            raise ValueError(
                f"data.refshapes.min_radius {self.min_radius} draws shapes below min_visible {self.min_visible}: "
                f"raise min_radius to {needed:.3f} or lower min_visible"
            )
        return self

    @model_validator(mode="after")
    def _photographs_are_used(self) -> "RefShapesConfig":
        if self.photo_dir is not None and self.backgrounds != "mixed":
            raise ValueError(
                f"data.refshapes.photo_dir is set but backgrounds is `{self.backgrounds}`: "
                "photographs need `backgrounds: mixed`, or drop photo_dir"
            )
        return self
