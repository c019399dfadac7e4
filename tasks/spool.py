"""The tracker that a stage sees: it appends to a file, so training never waits for MLflow and a crash loses nothing."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image


@dataclass(frozen=True, slots=True)
class Spool:
    """Points of curves and pictures, in the order they came, in a folder on a disk that every worker of the stage sees.

    Cheap to pickle into a worker process, where nothing of MLflow is imported; several processes may append at once.
    """

    folder: Path

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Append points of curves at a step."""
        self._append({"step": step, "metrics": {name: float(value) for name, value in values.items()}})

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Append a uint8 (H, W, 3) RGB picture under a name at a step."""
        file = self.folder / "images" / f"{uuid4().hex}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        self._append({"step": step, "image": name, "file": file.name})

    def last_step(self) -> int:
        """The highest step that anything was reported at; 0 where nothing was."""
        offset, last = 0, 0
        while batch := list(self.read(offset)):
            offset, last = batch[-1][0], max(last, *(event["step"] for _, event in batch))
        return last

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    def read(self, offset: int = 0, limit: int = 500) -> Iterator[tuple[int, dict[str, Any]]]:
        """Up to `limit` events from a byte offset on, each with the offset behind it; half a line is left for later."""
        if not self.events.exists():
            return
        with self.events.open("rb") as lines:
            lines.seek(offset)
            for line, _ in zip(lines, range(limit), strict=False):
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield offset, json.loads(line)

    def _append(self, event: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time_ms": int(time.time() * 1000), **event}) + "\n"
        with self.events.open("ab", buffering=0) as lines:  # one write each: appends of two processes do not mix
            lines.write(line.encode())
