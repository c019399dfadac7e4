"""The bar of a training shows what its process writes, and nothing that stood there before."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simpleseg_core.journal import Journal
from simpleseg_core.training.events import follow


@dataclass
class Bar:
    """A progress bar that remembers."""

    shown: list[Any] = field(default_factory=list)

    def start(self, total: int, description: str) -> None:
        self.shown.append((total, description))

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.shown.append((amount, note) if note else amount)


def test_every_event_is_shown_before_the_block_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer, bar = Journal(tmp_path), Bar()
    with follow(writer, bar):
        writer.note("the newest checkpoint is damaged")
        writer.begin(5, 8, "sft")
        writer.metrics({"loss": 2.0}, 6)
        writer.metrics({}, 7)
        writer.image("probe/0", np.zeros((4, 4, 3), np.uint8), 7)
        writer.metrics({"loss": 1.0}, 8)
    assert bar.shown == [(8, "sft"), 5, (1, "loss 2"), 1, (1, "loss 1")]
    assert caplog.messages == ["the newest checkpoint is damaged"]


def test_what_a_killed_run_has_written_is_no_progress_of_the_next(tmp_path: Path) -> None:
    writer, bar = Journal(tmp_path), Bar()
    writer.begin(0, 4, "sft")
    writer.metrics({"loss": 3.0}, 1)  # and killed
    with follow(writer, bar):
        writer.begin(1, 4, "sft")
        writer.metrics({"loss": 1.0}, 2)
    assert bar.shown == [(4, "sft"), 1, (1, "loss 1")]
    assert [event["step"] for _, event in writer.read() if "metrics" in event] == [1, 2]
