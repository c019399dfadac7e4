"""What a supervised stage is measured on while it learns."""

from typing import Literal

from pydantic import Field, model_validator

from simpleseg_core.config._base import Section


class HeldOutConfig(Section):
    """Measured every so many steps on what is never learned from, whatever the strategy."""

    every: int = Field(100, gt=0)
    """Steps between two evaluations; the last step has one too."""
    conversations: int = Field(64, ge=0)
    """The last ones of the stage's table, kept out of the training, for `held_out_loss`."""
    queries: int = Field(32, ge=0)
    """Spread over the first benchmark named val, answered greedily, for `held_out_giou`."""
    choose: Literal["last", "loss", "giou"] = "last"
    """Which weights are written at the end: those of the last step, or of the evaluation with the lowest loss or the
    highest gIoU."""
    patience: int = Field(0, ge=0)
    """Evaluations in a row without a better one after which the run ends; 0: it never does."""

    @model_validator(mode="after")
    def _can_choose(self) -> "HeldOutConfig":
        if (self.choose == "loss" and not self.conversations) or (self.choose == "giou" and not self.queries):
            raise ValueError(f"held_out.choose {self.choose}: nothing measures it: raise conversations or queries")
        if self.patience and self.choose == "last":
            raise ValueError("held_out.patience: better by what? set choose to loss or giou")
        return self
