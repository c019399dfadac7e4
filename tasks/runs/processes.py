"""Processes: which are alive, and how those that we started are asked to stop."""

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event
from types import FrameType

import psutil

_GRACE_S = 20.0
_TERMINAL_S = 2.0
_CALLED_BY_DVC = "DVC_STAGE"
"""DVC sets it for the commands of stages."""


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def callers() -> list[int]:
    """Process ids of the DVC that calls this stage and of shells in between: a stage must not outlive them.

    A second run would meet it. A stage that a person calls lives on without its shell (`nohup`).
    """
    if _CALLED_BY_DVC not in os.environ:
        return []
    parents = psutil.Process().parents()
    shells = sum(1 for _ in itertools.takewhile(lambda each: _CALLED_BY_DVC in each.environ(), parents))
    return [each.pid for each in parents[: shells + 1]]


def own_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child that calls the commands of this virtual environment, activated or not."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **extra}


@contextlib.contextmanager
def stop_requests() -> Iterator[Event]:
    """An event that Ctrl-C, SIGTERM and the end of the terminal set while the context lasts, instead of killing us."""
    stop = Event()
    with _handling(lambda number, frame: stop.set(), signal.SIGINT):
        yield stop


@contextlib.contextmanager
def until_stopped() -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal raise KeyboardInterrupt in the block, and end it without an error."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # with this one asyncio tidies up
    try:
        with (
            contextlib.suppress(KeyboardInterrupt),
            _handling(lambda number, frame: signal.raise_signal(signal.SIGINT)),
        ):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], *more: signal.Signals) -> Iterator[None]:
    """Handle SIGTERM, more signals, and SIGHUP unless it is ignored (`nohup`)."""
    hang_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, *hang_up, *more)}
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def stop_tree(pid: int) -> None:
    """End a process and its descendants; those that a terminal's Ctrl-C has reached may tidy up by themselves."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    _, alive = psutil.wait_procs(tree, timeout=_TERMINAL_S)
    for number, patience in ((signal.SIGINT, _GRACE_S), (signal.SIGTERM, _TERMINAL_S), (signal.SIGKILL, _TERMINAL_S)):
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, alive = psutil.wait_procs(alive, timeout=patience)
        if not alive:
            return
