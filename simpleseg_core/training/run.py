"""What a supervised run is, in plain values: who starts one and follows it needs neither torch nor transformers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simpleseg_core.config import ModelConfig, TrainConfig
from simpleseg_core.grammar import Style
from simpleseg_core.journal import Journal
from simpleseg_core.training.samples import Samples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

DrawProbe = Callable[["PreTrainedModel", "ProcessorMixin", Journal, int], None]
"""Draws what the model says at a step: (model, processor, events, step)."""


@dataclass(frozen=True)
class HeldOut:
    """What a run is measured on and never learns from."""

    conversations: int
    """How many of the run's own."""
    queries: Sequence[Mapping[str, Any]]
    """Rows of PROMPTS."""
    images: Path
    """Where their images are."""
    max_tokens: int = 160
    style: Style | None = None
    """That the queries ask for."""


@dataclass(frozen=True)
class SupervisedRun:
    """One training run; plain values and paths, so that it can be sent to a worker."""

    name: str
    seed: int
    steps: int
    train: TrainConfig
    model: ModelConfig
    start: str
    """Folder or hub id of the model to start from, or `scratch`."""
    samples: Samples
    output: Path
    work: Path
    fingerprint: str
    probe: DrawProbe | None = None
    held_out: HeldOut | None = None
    journal: Journal | None = None
    """Where the run reports; unset: to one in the work folder."""
