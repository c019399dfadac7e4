"""What a family leaves when everything of it is killed at once: nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_HEAD = """
import multiprocessing, sys, time
from simpleseg_core.family import found_family
found_family()
lock = multiprocessing.get_context("spawn").Lock()
print(lock._semlock.name, flush=True)
time.sleep(600)
"""


def _started(*, founds: bool) -> tuple["subprocess.Popen[str]", Path]:
    """A process group of its own that holds a named semaphore."""
    code = _HEAD if founds else _HEAD.replace("found_family()\n", "")
    environment = {name: value for name, value in os.environ.items() if name != "SIMPLESEG_FAMILY"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, Path("/dev/shm") / f"sem.{process.stdout.readline().strip().removeprefix('/')}"  # noqa: S108


def _kill(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_killed_group_leaves_no_semaphore_and_takes_nobody_elses() -> None:
    process, left = _started(founds=True)
    other, held = _started(founds=False)
    try:
        assert left.exists() and held.exists()
        _kill(process)
        deadline = time.monotonic() + 60
        while left.exists():
            assert time.monotonic() < deadline, "the semaphore stays"
            time.sleep(0.1)
        assert held.exists()
    finally:
        _kill(other)
        held.unlink(missing_ok=True)
