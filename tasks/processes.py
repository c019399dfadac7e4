"""Processes: which are alive, and how those that we started are asked to stop."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

_GRACE_S = 20.0
_TERMINAL_S = 2.0


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def own_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child that calls the commands of this virtual environment, activated or not."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **extra}


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
