"""The watcher of a training process: shows in a progress bar what stands in the journal that the process writes.

A file needs no connection: the watcher may die and come back, and the training process knows no progress bars.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simpleseg_core.contract import Progress
from simpleseg_core.journal import Journal

_POLL_S = 0.5
_log = logging.getLogger(__name__)


@contextmanager
def follow(journal: Journal, progress: Progress) -> Iterator[None]:
    """Show the events that are appended to a journal from now on, until the block ends."""
    follower = _Follower(journal, progress)
    done = threading.Event()
    thread = threading.Thread(target=follower.run, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Follower:
    def __init__(self, journal: Journal, progress: Progress) -> None:
        self._journal, self._progress, self._step = journal, progress, 0
        self._offset = journal.events.stat().st_size if journal.events.exists() else 0

    def run(self, done: threading.Event) -> None:
        while not done.wait(_POLL_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        for offset, event in self._journal.read(self._offset, limit=None):
            self._show(event)
            self._offset = offset

    def _show(self, event: dict[str, Any]) -> None:
        if "begin" in event:
            self._step = event["begin"]
            self._progress.start(event["steps"], event["description"])
            self._progress.advance(self._step)
        elif "metrics" in event:
            loss = event["metrics"].get("loss")
            note = f"loss {loss:.4g}" if loss is not None else ""
            self._progress.advance(event["step"] - self._step, note)
            self._step = event["step"]
        elif "note" in event:
            _log.warning(event["note"])
