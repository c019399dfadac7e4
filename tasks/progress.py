"""Progress of a stage: a bar in a terminal, a line now and then in a log, or messages for the pipeline behind it."""

import json
import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from simpleseg_core.stages import Progress

_log = logging.getLogger(__name__)

PROGRESS_VARIABLE = "SIMPLESEG_PROGRESS"
"""Set to `messages` by a launcher that reads progress messages from the output of a stage."""

_MARK = "\x1eprogress "


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """How far a stage is."""

    description: str
    done: int
    total: int


def parse_progress(line: str) -> ProgressMessage | None:
    """The progress message that a line of a stage's output carries, if it does."""
    if not line.startswith(_MARK):
        return None
    try:
        return ProgressMessage(*json.loads(line.removeprefix(_MARK)))
    except (json.JSONDecodeError, TypeError):
        return None


@contextmanager
def open_progress() -> Iterator[Progress]:
    """The progress display that suits where the output goes."""
    if os.environ.get(PROGRESS_VARIABLE) == "messages":
        yield MessageProgress()
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield bar
    else:
        yield LogProgress()


class _Paced(ABC):
    """Counts, and shows the count at most once in an interval (and always at both ends)."""

    interval_s = 1.0

    def __init__(self) -> None:
        self.description, self.done, self.total = "", 0, 0
        self._shown_at = 0.0

    def start(self, total: int, description: str) -> None:
        self.description, self.done, self.total = description, 0, total
        self._show_now()

    def advance(self, amount: int = 1) -> None:
        self.done += amount
        if self.done >= self.total or time.monotonic() - self._shown_at >= self.interval_s:
            self._show_now()

    def _show_now(self) -> None:
        self._shown_at = time.monotonic()
        self.show()

    @abstractmethod
    def show(self) -> None:
        """Show the description, and how much of how much is done."""


class MessageProgress(_Paced):
    """Writes messages to standard output for `parse_progress`."""

    interval_s = 0.5

    def show(self) -> None:
        sys.stdout.write(f"{_MARK}{json.dumps([self.description, self.done, self.total])}\n")
        sys.stdout.flush()


class LogProgress(_Paced):
    """Logs a line every ten seconds."""

    interval_s = 10.0

    def show(self) -> None:
        _log.info("%s: %d of %d", self.description, self.done, self.total)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:

        class _Bar:
            task: TaskID | None = None

            def start(self, total: int, description: str) -> None:
                self.task = bars.add_task(description, total=total)

            def advance(self, amount: int = 1) -> None:
                if self.task is not None:
                    bars.advance(self.task, amount)

        yield _Bar()
