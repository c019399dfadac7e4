"""What a person at the terminal sees while a pipeline runs; a run that the Prefect UI started shows nothing here."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.runs.data_version import Outcome
from tasks.runs.progress import ProgressMessage

_LOG_PROGRESS_S = 15.0


class Display(Protocol):
    """Follows a pipeline run."""

    def stage_starts(self, name: str, why: Sequence[str]) -> None: ...

    def line(self, text: str) -> None: ...

    def progress(self, message: ProgressMessage) -> None: ...

    def stage_ends(self, name: str, outcome: Outcome | None, seconds: float) -> None:
        """`None`: it failed, or was stopped."""


class Silent:
    """Shows nothing."""

    def stage_starts(self, name: str, why: Sequence[str]) -> None: ...

    def line(self, text: str) -> None: ...

    def progress(self, message: ProgressMessage) -> None: ...

    def stage_ends(self, name: str, outcome: Outcome | None, seconds: float) -> None: ...


_current: ContextVar[Display] = ContextVar("display")


def display() -> Display:
    """The display of this run."""
    return _current.get(Silent())


@contextmanager
def terminal(console: Console, *, verbose: bool) -> Iterator[None]:
    """Show the run on a console: a live bar in a terminal, plain lines in a log."""
    shown = _Terminal(console, verbose)
    token = _current.set(shown)
    try:
        with shown.bars:
            yield
    finally:
        _current.reset(token)


_MARKS = {Outcome.RAN: "[green]done[/]", Outcome.UNCHANGED: "[cyan]cached[/]", Outcome.RESTORED: "[cyan]restored[/]"}


class _Terminal:
    def __init__(self, console: Console, verbose: bool) -> None:
        self.console, self.verbose = console, verbose
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.bar: TaskID | None = None
        self.description = ""
        self.logged_at = 0.0

    def stage_starts(self, name: str, why: Sequence[str]) -> None:
        reason = f" [dim]({escape('; '.join(why[:3]))})[/]" if why else ""
        self.console.print(f"[bold]{name}[/]{reason}", highlight=False)

    def line(self, text: str) -> None:
        if self.verbose or not text.startswith(("Running stage", "> ", "Updating lock", "Generating lock")):
            self.console.print(f"[dim]  {escape(text)}[/]", highlight=False, soft_wrap=True)

    def progress(self, message: ProgressMessage) -> None:
        if self.console.is_terminal:
            self._move_bar(message)
        elif message.description != self.description or time.monotonic() - self.logged_at > _LOG_PROGRESS_S:
            self.description, self.logged_at = message.description, time.monotonic()
            self.console.print(f"  {escape(str(message))}", highlight=False, soft_wrap=True)

    def _move_bar(self, message: ProgressMessage) -> None:
        if self.bar is None or message.description != self.description:
            self._drop_bar()
            self.bar, self.description = (
                self.bars.add_task(escape(message.description), total=message.total, note=""),
                message.description,
            )
        self.bars.update(self.bar, completed=message.done, total=message.total, note=escape(message.note))

    def _drop_bar(self) -> None:
        if self.bar is not None:
            self.bars.remove_task(self.bar)
        self.bar, self.description = None, ""

    def stage_ends(self, name: str, outcome: Outcome | None, seconds: float) -> None:
        self._drop_bar()
        mark = "[red]not finished[/]" if outcome is None else _MARKS[outcome]
        took = f" [dim]{seconds:.1f} s[/]" if outcome in (None, Outcome.RAN) else ""
        self.console.print(f"[bold]{name}[/] {mark}{took}", highlight=False)
