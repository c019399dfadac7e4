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
def follow(path: Path, context: Context) -> Iterator[None]:
    """Forward events written to `path` from now on to the context's tracker and progress bar, until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    follower = _Follower(path, context)
    done = threading.Event()
    thread = threading.Thread(target=follower.run, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Follower:
    def __init__(self, path: Path, context: Context) -> None:
        self._path, self._context, self._offset, self._step = path, context, path.stat().st_size, 0

    def run(self, done: threading.Event) -> None:
        while not done.wait(_POLL_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        with self._path.open() as file:
            file.seek(self._offset)
            while (line := file.readline()).endswith("\n"):
                self._offset = file.tell()
                self._forward(json.loads(line))

    def _forward(self, event: dict[str, Any]) -> None:
        if "begin" in event:
            self._step = event["begin"]
            self._context.progress.start(event["steps"], event["description"])
            self._context.progress.advance(self._step)
        elif "image" in event:
            self._context.tracker.image(event["image"], np.asarray(Image.open(event["file"])), event["step"])
        else:
            self._context.progress.advance(event["step"] - self._step)
            self._step = event["step"]
            if event["metrics"]:
                self._context.tracker.metrics(event["metrics"], event["step"])
