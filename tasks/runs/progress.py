"""Progress of a stage: a bar in a terminal, a line now and then in a log, or messages for the pipeline behind it."""

import json
import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from simpleseg_core.contract import Progress

_log = logging.getLogger(__name__)

PROGRESS_VARIABLE = "SIMPLESEG_PROGRESS"
"""Set to `messages` by a launcher that reads progress messages from the output of a stage."""

_MARK = "\x1eprogress "
_AT_ONCE_S = 1.0
"""What is done so soon was done before, by an interrupted run, and says nothing of the pace."""


@dataclass(frozen=True, slots=True)
class ProgressMessage:
    """How far a stage is; as text, a line of a log."""

    description: str
    done: int
    total: int
    note: str = ""
    """How it goes, such as `loss 0.52`."""
    left_s: float | None = None
    """Seconds that the rest will take, at the pace so far."""

    def __str__(self) -> str:
        said = [f"{self.description}: {self.done} of {self.total}"]
        if self.note:
            said.append(self.note)
        if self.left_s:
            said.append(f"{duration(self.left_s)} left")
        return ", ".join(said)


def duration(seconds: float) -> str:
    """Seconds as people say them, coarsely: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


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
        self.description, self.note, self.done, self.total = "", "", 0, 0
        self._began, self._before = time.monotonic(), 0
        self._shown_at = 0.0

    def start(self, total: int, description: str) -> None:
        self.description, self.note, self.done, self.total = description, "", 0, total
        self._began, self._before = time.monotonic(), 0
        self._show_now()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done, self.note = self.done + amount, note or self.note
        if time.monotonic() - self._began < _AT_ONCE_S:
            self._before = self.done
        if self.done >= self.total or time.monotonic() - self._shown_at >= self.interval_s:
            self._show_now()

    def _show_now(self) -> None:
        self._shown_at = time.monotonic()
        self.show(ProgressMessage(self.description, self.done, self.total, self.note, self._left()))

    def _left(self) -> float | None:
        made = self.done - self._before
        return (self.total - self.done) * (time.monotonic() - self._began) / made if made > 0 else None

    @abstractmethod
    def show(self, message: ProgressMessage) -> None:
        """Show how much of how much is done."""


class MessageProgress(_Paced):
    """Writes messages to standard output for `parse_progress`."""

    interval_s = 0.5

    def show(self, message: ProgressMessage) -> None:
        sys.stdout.write(f"{_MARK}{json.dumps(astuple(message))}\n")
        sys.stdout.flush()


class LogProgress(_Paced):
    """Logs a line every ten seconds."""

    interval_s = 10.0

    def show(self, message: ProgressMessage) -> None:
        _log.info("%s", message)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from tasks.runs.console import PlainConsole

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=PlainConsole(stderr=True)) as bars:

        class _Bar:
            task: TaskID | None = None
            note = ""

            def start(self, total: int, description: str) -> None:
                self.note = ""
                self.task = bars.add_task(description, total=total, note="")

            def advance(self, amount: int = 1, note: str = "") -> None:
                if self.task is not None:
                    self.note = escape(note) or self.note
                    bars.update(self.task, advance=amount, note=self.note)

        yield _Bar()
