"""Events reach the watcher once each, whoever is killed in between."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simpleseg_core.stages import Context
from simpleseg_core.training.events import EventWriter, _Follower, follow


@dataclass
class Watcher:
    """Tracker and progress bar in one: what reached them."""

    points: list[tuple[int, float]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    shown: list[Any] = field(default_factory=list)

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.points.append((step, values["loss"]))

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self.pictures.append(name)

    def start(self, total: int, description: str) -> None:
        self.shown.append((total, description))

    def advance(self, amount: int = 1) -> None:
        self.shown.append(amount)


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def context(tmp_path: Path, watcher: Watcher) -> Context:
    return Context(tmp_path, tracker=watcher, progress=watcher)  # type: ignore[arg-type]


def test_every_event_is_forwarded_before_the_block_ends(tmp_path: Path, context: Context, watcher: Watcher) -> None:
    log = tmp_path / "events.jsonl"
    writer = EventWriter(log)
    with follow(log, context, "run"):
        writer.begin(5, 8, "sft")
        writer.step(6, {"loss": 2.0})
        writer.step(7, {})
        writer.image("probe/0", np.zeros((4, 4, 3), np.uint8), 7)
        writer.step(8, {"loss": 1.0})
    assert watcher.points == [(6, 2.0), (8, 1.0)]
    assert watcher.pictures == ["probe/0"]
    assert watcher.shown == [(8, "sft"), 5, 1, 1, 1]


def test_what_a_killed_watcher_missed_comes_with_the_next(tmp_path: Path, context: Context, watcher: Watcher) -> None:
    log = tmp_path / "events.jsonl"
    log.touch()
    writer = EventWriter(log)
    follower = _Follower(log, context, "run")
    follower.catch_up()
    writer.begin(0, 4, "sft")
    writer.step(1, {"loss": 3.0})
    follower._drain()
    writer.step(2, {"loss": 2.0})  # and killed
    watcher.shown.clear()
    with follow(log, context, "run"):
        writer.begin(2, 4, "sft")
        writer.step(3, {"loss": 1.0})
    assert watcher.points == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert watcher.shown == [(4, "sft"), 2, 1]  # the bar is the new run's alone


def test_events_of_another_run_stay_where_they_are(tmp_path: Path, context: Context, watcher: Watcher) -> None:
    log = tmp_path / "events.jsonl"
    writer = EventWriter(log)
    with follow(log, context, "old"):
        writer.step(1, {"loss": 3.0})
    writer.step(2, {"loss": 2.0})
    with follow(log, context, "new"):
        writer.step(1, {"loss": 9.0})
    assert watcher.points == [(1, 3.0), (1, 9.0)]
