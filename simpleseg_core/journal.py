"""What a stage reports while it runs, appended to a file: it waits for no reader, and a crash loses nothing."""

import errno
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

_log = logging.getLogger(__name__)

_FORMS: Mapping[str, Mapping[str, type]] = {
    "begin": {"begin": int, "steps": int, "description": str},
    "step": {"step": int},
    "metrics": {"metrics": dict, "step": int},
    "note": {"note": str},
    "image": {"image": str, "step": int, "file": str},
    "file": {"file": str},
    "headline": {"headline": dict},
    "text": {"text": str, "artifact": str},
    "tags": {"tags": dict},
    "run": {"run": str, "tags": dict, "params": dict, "inputs": dict, "config": str, "time_ms": int},
    "end": {"end": str, "time_ms": int},
}
"""What an event that has one of these keys must have: a damaged line may still be JSON."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Points of curves and pictures, in the order they came, in a folder on a disk that every worker of the stage sees.

    It is a `Tracker`, and cheap to pickle into a worker process; several processes may append at once. Whatever stands
    in the file, it can be read and written on: half a line, which a crash or a full disk has left, is ended by the next
    writer, and lines that make no sense are left out.
    """

    folder: Path

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    def begin(self, step: int, steps: int, description: str) -> None:
        """Append how long a run is and where it starts."""
        self.append({"begin": step, "steps": steps, "description": description})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Append points of curves at a step; without any, that the step is done.

        Raises:
            OSError: the disk is full, or does not take the line for another reason.
        """
        self.append({"step": step, "metrics": {name: float(value) for name, value in values.items()}})

    def note(self, text: str) -> None:
        """Append a line for whoever watches."""
        self.append({"note": text})

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Append a uint8 (H, W, 3) RGB picture under a name at a step."""
        file = self.picture(f"{uuid4().hex}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        self.append({"step": step, "image": name, "file": file.name})

    def page(self, name: str, html: str, step: int) -> None:
        """Append a page of HTML: a file of its step in the artifact folder `name`."""
        file = self.keep(f"step-{step:06d}.html", html.encode())
        self.append({"step": step, "artifact": name, "file": file})

    def append(self, event: Mapping[str, Any]) -> None:
        """Append any event, with the time.

        Raises:
            OSError: the disk is full, or does not take the line for another reason.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time_ms": int(time.time() * 1000), **event}).encode() + b"\n"
        with self.events.open("a+b", buffering=0) as lines:
            if _ends_in_half_a_line(lines.fileno()):
                line = b"\n" + line
            if lines.write(line) != len(line):  # one write each: appends of two processes do not mix
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.events))

    def keep(self, name: str, content: bytes) -> str:
        """Keep a file until it is read from here; returns the `file` for the event that speaks of it."""
        file = self.picture(f"{uuid4().hex}/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return f"{file.parent.name}/{name}"

    def picture(self, file: str) -> Path:
        """Where the picture or file of an event's `file` lies."""
        return self.folder / "images" / file

    def last_step(self) -> int:
        """The highest step that anything was reported at; 0 where nothing was."""
        return max((event.get("step", 0) for _, event in self.read(limit=None)), default=0)

    def read(self, offset: int = 0, limit: int | None = 500) -> Iterator[tuple[int, dict[str, Any]]]:
        """Up to `limit` events from a byte offset on, each with the offset behind it; half a line is left for later."""
        if not self.events.exists():
            return
        found, unreadable = 0, list[int]()
        with self.events.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                if not line.endswith(b"\n") or found == limit:
                    break
                offset += len(line)
                if event := _event(line):
                    found += 1
                    yield offset, event
                else:
                    unreadable.append(offset)
        if unreadable:
            _say_unreadable(self.events, unreadable[0], len(unreadable))


def _ends_in_half_a_line(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and _has_its_form(event) else None


def _has_its_form(event: Mapping[str, Any]) -> bool:
    forms = (_FORMS[name] for name in event if name in _FORMS)
    parts = all(isinstance(event.get(part), kind) for form in forms for part, kind in form.items())
    return parts and all(isinstance(value, int | float) for value in event.get("metrics", {}).values())


@cache
def _say_unreadable(file: Path, first: int, count: int) -> None:
    """Once, however often the lines are read."""
    _log.warning("%s: lines that cannot be read are left out (%d, the first ends at byte %d)", file, count, first)
