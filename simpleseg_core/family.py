"""A process and all that it starts are a family: when the process ends, however it ends, nothing of it is left.

Nothing that runs in a process can tidy up after `kill -9`, and what Ray starts outlives its driver. So a watcher, a
process of its own in a session of its own, waits for the end, kills what carries the family's mark in its environment
and removes the family's scratch folders. It is this file run as a script, so it imports nothing of ours.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory, gettempdir

import psutil

_MARK = "SIMPLESEG_FAMILY"
"""Environment variable with the family's mark, `simpleseg-PID-RANDOM`: PID is its head's."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (folders in it carry random names, and are their owner's alone)
_SHORT = Path("/tmp")  # noqa: S108
_POLL_S = 0.2
_TRACKERS_S = 3.0
"""How long Python's resource trackers may take to unlink the shared memory of processes that are gone."""
_PATIENCE_S = 20.0


def found_family(*callers: int) -> None:
    """Let nothing that this process starts from now on outlive it, however it ends; a second call does nothing.

    Args:
        callers: ids of processes that this process itself must not outlive; with one of them the family ends.
    """
    if _head(os.environ.get(_MARK, "")) == os.getpid():
        return
    mark = f"simpleseg-{os.getpid()}-{token_hex(2)}"
    unmarked = {name: value for name, value in os.environ.items() if name != _MARK}  # no other watcher's prey
    command = [sys.executable, "-P", __file__, mark, *map(str, (os.getpid(), *callers))]
    quiet = subprocess.DEVNULL
    subprocess.run(
        command, env=unmarked, cwd="/", stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, check=True
    )
    os.environ[_MARK] = mark


@contextlib.contextmanager
def scratch_folder(*, in_memory: bool = False, short: bool = False) -> Iterator[Path]:
    """A new folder that is gone after the block, or with the family.

    Args:
        in_memory: for what processes of one machine hand over: shared memory, where the machine has it.
        short: for sockets, whose paths may have 107 bytes: `/tmp` even where temporary files have a longer one.
    """
    if _MARK not in os.environ:
        found_family()
    parent = _SHARED_MEMORY if in_memory and _SHARED_MEMORY.is_dir() else _SHORT if short else None
    with TemporaryDirectory(prefix=f"{os.environ[_MARK]}-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _head(mark: str) -> int | None:
    pid = mark.partition("-")[2].partition("-")[0]
    return int(pid) if pid.isdigit() else None


def _watch(mark: str, pids: Sequence[int]) -> None:
    """Wait in the background for the end of one of the processes, then end the family of the first."""
    with contextlib.suppress(psutil.NoSuchProcess):
        watched = [psutil.Process(pid) for pid in pids]
        if os.fork():  # the head waits no longer, and the watcher is nobody's child
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        began = time.time()
        while all(map(_is_alive, watched)):
            time.sleep(_POLL_S)
        if _is_alive(watched[0]):
            watched[0].kill()
    _end_family(mark)
    for parent in {_SHARED_MEMORY, _SHORT, Path(gettempdir())}:
        for folder in parent.glob(f"{mark}-*"):
            shutil.rmtree(folder, ignore_errors=True)
    _remove_semaphores(began)


def _remove_semaphores(began: float) -> None:
    """Unlink semaphores of multiprocessing that are younger than the family and that no process holds.

    Their trackers do that, unless they were killed with the rest. A semaphore is mapped before it has its name, so that
    one without a process that maps it is nobody's.
    """
    with contextlib.suppress(OSError):
        left = [file for file in _SHARED_MEMORY.glob("sem.mp-*") if _is_ours(file, began)]
        held = set().union(*map(_mapped, Path("/proc").glob("[0-9]*/maps"))) if left else set()
        for file in left:
            if file.stat().st_ino not in held:
                file.unlink()


def _is_ours(file: Path, began: float) -> bool:
    try:
        found = file.stat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and found.st_ctime >= began


def _mapped(maps: Path) -> set[int]:
    """The inodes of semaphores (some under the names of their making) that a process maps; none of somebody else's."""
    try:
        return {int(line.split()[4]) for line in maps.read_text().splitlines() if f"{_SHARED_MEMORY}/sem." in line}
    except OSError:
        return set()


def _end_family(mark: str) -> None:
    """Kill every member until two looks in a row find none."""
    began, empty = time.monotonic(), 0
    while empty < 2 and time.monotonic() - began < _PATIENCE_S:
        members = [each for each in psutil.process_iter() if _mark_of(each) == mark and _is_alive(each)]
        empty = 0 if members else empty + 1
        for member in members:
            with contextlib.suppress(psutil.Error):
                if not _is_tracker(member) or time.monotonic() - began > _TRACKERS_S:
                    member.kill()
        time.sleep(_POLL_S)


def _mark_of(process: psutil.Process) -> str:
    try:
        return str(process.environ().get(_MARK, ""))
    except (psutil.Error, OSError):
        return ""


def _is_tracker(process: psutil.Process) -> bool:
    """Whether it is a process of multiprocessing that unlinks the shared memory of others, once they are gone."""
    return any("multiprocessing.resource_tracker" in part for part in process.cmdline())


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    _watch(sys.argv[1], [int(pid) for pid in sys.argv[2:]])
