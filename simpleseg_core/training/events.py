"""The line between a training process and whoever watches it: events appended to a file on one side, followed on
the other.

A file needs no connection: the watcher may die and come back, and the training process knows neither trackers nor
progress bars.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from simpleseg_core.files import read_state, write_json
from simpleseg_core.stages import Context

_POLL_S = 0.5


class EventWriter:
    """Appends events to a JSON-lines file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def begin(self, step: int, steps: int, description: str) -> None:
        """Say how long the run is and where it starts."""
        self._append({"begin": step, "steps": steps, "description": description})

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report that a step is done, with what was measured in it (possibly nothing)."""
        self._append({"step": step, "metrics": dict(metrics)})

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Store a picture beside the log and announce it."""
        file = self._path.parent / "probes" / f"{name.replace('/', '-')}-{step:06d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(file)
        self._append({"image": name, "step": step, "file": str(file)})

    def _append(self, event: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(event) + "\n")


@contextmanager
def follow(path: Path, context: Context, run: str) -> Iterator[None]:
    """Forward events written to `path` to the context's tracker and progress bar, until the block ends.

    Args:
        run: what the events belong to. A killed follower of the same run goes on where it was, so that no point of a
            curve is lost; what is there of another run is left out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    follower = _Follower(path, context, run)
    follower.catch_up()
    done = threading.Event()
    thread = threading.Thread(target=follower.run, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Follower:
    def __init__(self, path: Path, context: Context, run: str) -> None:
        self._path, self._context, self._run, self._step = path, context, run, 0
        self._place = path.with_suffix(".followed.json")
        place, size = read_state(self._place), path.stat().st_size
        self._offset = min(int(place["offset"]), size) if place.get("run") == run else size

    def catch_up(self) -> None:
        """Track what was written before anyone watched: no progress of this run."""
        for event in self._events():
            self._track(event)

    def run(self, done: threading.Event) -> None:
        while not done.wait(_POLL_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        for event in self._events():
            self._show(event)
            self._track(event)

    def _events(self) -> Iterator[dict[str, Any]]:
        """Events not yet seen; where they end is noted once they are handled."""
        start = self._offset
        with self._path.open() as file:
            file.seek(self._offset)
            while (line := file.readline()).endswith("\n"):
                yield json.loads(line)
                self._offset = file.tell()
        if self._offset > start or not self._place.exists():
            write_json(self._place, {"run": self._run, "offset": self._offset})

    def _show(self, event: dict[str, Any]) -> None:
        if "begin" in event:
            self._step = event["begin"]
            self._context.progress.start(event["steps"], event["description"])
            self._context.progress.advance(self._step)
        elif "metrics" in event:
            self._context.progress.advance(event["step"] - self._step)
            self._step = event["step"]

    def _track(self, event: dict[str, Any]) -> None:
        if "image" in event:
            self._context.tracker.image(event["image"], np.asarray(Image.open(event["file"])), event["step"])
        elif event.get("metrics"):
            self._context.tracker.metrics(event["metrics"], event["step"])
