"""The rewards of reinforcement learning: which terms count, how much, and the guards against gaming them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator

from simpleseg_core.config._base import Operational, Section
from simpleseg_core.config.dataset import Style
from simpleseg_core.kinds import REWARD_TERMS

_WEIGHTS = {"iou": 1.0, "distance": 0.1, "format": 0.1, "length": 0.0, "boundary": 0.0, "parts": 0.0}
"""The paper's terms, and three of ours that are off: it found that paying for few points (`length`) hurts."""


class RewardConfig(Section):
    """Rule-based rewards of an answer in text against a true mask."""

    weights: dict[str, Annotated[float, Field(ge=0)]] = _WEIGHTS
    """Weight of each term in the total, by the name of its file in `simpleseg_core/rewards/terms`. One that is not
    named keeps its default, one of weight 0 is not computed."""
    style: Style = "permille"
    """The style that the prompts ask for and the format reward pays; both styles are read."""
    item_timeout_s: Operational[float] = Field(10.0, gt=0, le=604_800)
    """Time for one answer; past it the answer is worth 0 and counted as failed, and its process is replaced."""
    workers: Operational[int] = Field(1, ge=1, le=10_000)
    """Processes that share a batch; one that hangs is replaced."""
    max_points: int = Field(256, ge=3)
    """Points of one answer past which it is worth nothing: a defence against endless outlines."""
    max_parts: int = Field(32, ge=1)
    """Polygons of one answer past which it is worth nothing."""
    boundary_width: float = Field(0.02, gt=0, lt=1)
    """Width of the boundary band, relative to the image's diagonal."""

    @field_validator("weights", mode="before")
    @classmethod
    def _others_keep_their_defaults(cls, weights: object) -> object:
        return {**_WEIGHTS, **weights} if isinstance(weights, Mapping) else weights

    @field_validator("weights")
    @classmethod
    def _terms_are_known(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            REWARD_TERMS.known(name)
        if sum(weights.values()) <= 0:
            raise ValueError(f"all zero: give at least one of {', '.join(REWARD_TERMS.names())} a positive weight")
        return weights
