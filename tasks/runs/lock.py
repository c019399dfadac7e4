"""One at a time: locks on files that the operating system frees when their holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class BusyError(RuntimeError):
    """Another process does the same in this working copy."""


@contextmanager
def alone(file: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file for the block.

    Args:
        what: what the holder does, as the message says it: "a pipeline".

    Raises:
        BusyError: another process holds it.
        ValueError: the folder takes no files.
    """
    with _opened(file) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise BusyError(
                f"{what} already runs in {file.parent.parent} (process {holder}): wait for it, or stop it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _opened(file: Path) -> IO[str]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("a+")
    except OSError as error:
        raise ValueError(
            f"{file.parent}: {error.strerror}; runs keep their state there: make it writable, or work in a copy"
        ) from None
