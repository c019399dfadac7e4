"""The rewards of reinforcement learning: which terms count, how much, and the guards against gaming them."""

from pydantic import Field, model_validator

from simpleseg_core.config._base import Section
from simpleseg_core.config.dataset import Style


class RewardWeights(Section):
    """Weight of each term in the total; a term of weight 0 is not computed."""

    iou: float = Field(1.0, ge=0)
    """Mask IoU."""
    distance: float = Field(0.1, ge=0)
    """Closeness of the centroids."""
    format: float = Field(0.1, ge=0)
    """Strictly well-formed answer."""
    length: float = Field(0.0, ge=0)
    """Few points (the ablation; the paper found that it hurts)."""
    boundary: float = Field(0.0, ge=0)
    """Boundary IoU."""
    parts: float = Field(0.0, ge=0)
    """As many polygons as the truth has parts."""

    @model_validator(mode="after")
    def _some_term_counts(self) -> "RewardWeights":
        if sum(dict(self).values()) <= 0:
            raise ValueError(
                "reward weights are all zero: give at least one term (iou, distance, format, ...) a positive weight"
            )
        return self


class RewardConfig(Section):
    """Rule-based rewards of an answer in text against a true mask."""

    weights: RewardWeights = RewardWeights()
    style: Style = "permille"
    """The style that the format reward asks for; both styles are read."""
    item_timeout_s: float = Field(10.0, gt=0)
    """Time for one answer; past it the answer is worth 0 and counted as failed."""
    workers: int = Field(1, ge=1)
    """Threads that share a batch."""
    max_points: int = Field(256, ge=3)
    """Points of one answer past which it is worth nothing: a defence against endless outlines."""
    max_parts: int = Field(32, ge=1)
    """Polygons of one answer past which it is worth nothing."""
    boundary_width: float = Field(0.02, gt=0, lt=1)
    """Width of the boundary band, relative to the image's diagonal."""
