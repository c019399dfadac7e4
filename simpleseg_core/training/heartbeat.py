"""Signs of life of every worker of a run, and who notices that one has none.

Workers and whoever started them meet in the stage's work folder, which all of them see; clocks are not compared.
"""

import faulthandler
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simpleseg_core.files import read_state, write_text

Beat = Callable[[int, str], None]
"""Step and what is being done in it."""
_FRAMES = 3
"""Innermost calls that a message shows."""
_TRAINING = " in train"
"""What stands among the calls of a thread that trains."""


def _folder(work: Path) -> Path:
    return work / "heartbeats"


@contextmanager
def heartbeat(work: Path, rank: int, patience_s: float) -> Iterator[Beat]:
    """In a worker: a function to call before everything that may take long.

    When the next call, or the end of the block, is not there after `patience_s`, the process writes what each of its
    threads is doing to a file and ends, as if it had been killed.
    """
    folder = _folder(work)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{rank}.stacks").open("w", encoding="utf-8") as stacks:

        def beat(step: int, doing: str) -> None:
            faulthandler.dump_traceback_later(patience_s, exit=True, file=stacks)
            with suppress(OSError):  # a full disk is for those to tell who lose something by it
                write_text(folder / f"{rank}.json", json.dumps({"step": step, "doing": doing, "at": time.time()}))

        beat(0, "loading the model")
        try:
            yield beat
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def watching(name: str, work: Path, workers: int, patience_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, say which worker has not started, or has shown no sign of life, for `patience_s`."""
    for file in _folder(work).glob("*"):
        file.unlink()
    watcher, done = _Watcher(name, work, workers, patience_s, say), threading.Event()
    thread = threading.Thread(target=watcher.run, args=(done,), name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Watcher:
    def __init__(self, name: str, work: Path, workers: int, patience_s: float, say: Callable[[str], None]) -> None:
        self._name, self._folder, self._workers = name, _folder(work), workers
        self._patience_s, self._say = patience_s, say
        self._heard: dict[int, tuple[object, float]] = {}
        """Rank -> its last beat, and when it was new here."""
        self._told: set[tuple[int, str]] = set()

    def run(self, done: threading.Event) -> None:
        began = time.monotonic()
        while not done.wait(min(5.0, self._patience_s / 4)):
            for rank in range(self._workers):
                self._look(rank, began)

    def _look(self, rank: int, began: float) -> None:
        beat, now = read_state(self._folder / f"{rank}.json"), time.monotonic()
        if self._heard.get(rank, (None, 0.0))[0] != beat:
            self._heard[rank] = beat, now
        if now - self._heard.get(rank, (None, began))[1] < self._patience_s:
            return
        key = rank, json.dumps(beat)
        stacks = self._stacks(rank)
        if key in self._told or (beat and not stacks):  # it is about to write where it hangs
            return
        self._told.add(key)
        self._say(self._started_late(rank) if not beat else self._hangs(rank, beat, stacks))

    def _started_late(self, rank: int) -> str:
        return (
            f"{self._name}: worker {rank + 1} of {self._workers} has not started for {self._patience_s:.0f} s: see "
            f"`ray status` for what the cluster has, and lower {self._name}.workers or make room"
        )

    def _hangs(self, rank: int, beat: dict[str, object], stacks: list[str]) -> str:
        where = "; ".join(stacks[:_FRAMES])
        return (
            f"{self._name}: worker {rank + 1} of {self._workers} has hung for {self._patience_s:.0f} s in step "
            f"{beat.get('step')}, {beat.get('doing')}, at {where} (all of it: {self._folder / f'{rank}.stacks'}); "
            f"it is started again. What only takes long needs a larger {self._name}.stall_s"
        )

    def _stacks(self, rank: int) -> list[str]:
        """The calls of the thread that trains, the innermost first: Ray gives it one beside the main thread."""
        with suppress(OSError):
            text = (self._folder / f"{rank}.stacks").read_text(encoding="utf-8", errors="replace")
            threads = text.split("hread 0x")[1:]
            ours = [each for each in threads if _TRAINING in each] or threads[-1:]
            return [line.strip() for line in ours[0].splitlines()[1:] if line.strip()] if ours else []
        return []
