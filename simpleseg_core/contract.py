"""What a stage is: a function of configuration, inputs and outputs that never knows who called it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from simpleseg_core.config import Config
from simpleseg_core.journal import Journal


class Tracker(Protocol):
    """Where a stage sends what people watch while it runs; it must survive pickling into a worker process."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves at a step."""

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """A uint8 (H, W, 3) RGB picture under a name at a step."""

    def page(self, name: str, html: str, step: int) -> None:
        """A page of HTML under a name at a step."""


class Progress(Protocol):
    """A progress bar: a stage says how much there is, then how much is done."""

    def start(self, total: int, description: str) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None:
        """So much more is done; the note says how it goes, such as `loss 0.52`."""


class NullTracker:
    """Discards everything."""

    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def image(self, name: str, image: np.ndarray, step: int) -> None: ...

    def page(self, name: str, html: str, step: int) -> None: ...


class NullProgress:
    """Shows nothing."""

    def start(self, total: int, description: str) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None: ...


@dataclass(frozen=True)
class Context:
    """The caller's side of a stage."""

    work: Path
    """Folder for state that lets a killed stage resume; not versioned, kept between runs, private to the stage."""
    tracker: Tracker = field(default_factory=NullTracker)
    progress: Progress = field(default_factory=NullProgress)
    tolerant: bool = False
    """Whether a shard may fail as a whole; else it counts as a sign that the engine is broken, and stops the stage."""

    @property
    def journal(self) -> Journal:
        """Where other processes of the stage report, each point once: the tracker's own, or one in the work folder."""
        return Journal((self.tracker.folder if isinstance(self.tracker, Journal) else self.work).absolute())


@dataclass(frozen=True)
class StageResult:
    """What a stage reports when it ends."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Headline numbers; written as metrics JSON and logged."""
    tables: dict[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    """Small tables for people (funnel, reasons, composition)."""
    images: dict[str, Path] = field(default_factory=dict)
    """Picture files for people (contact sheets, plots)."""


Inputs = Mapping[str, Path]
Outputs = Mapping[str, Path]


class Stage(Protocol):
    """One stage of the DAG."""

    def __call__(self, config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult: ...
