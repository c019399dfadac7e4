"""Processes that apply a function to items, each within its time: one that hangs or dies costs its own item only."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from typing import Any

Function = Callable[[Any], Any]

_START_S = 120.0
"""Within this a process has imported and compiled what it needs, on a busy machine too."""


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Why an item has no result."""

    reason: str


class Workers:
    """A fixed number of processes, started with the first items; whichever hangs or dies is replaced at once."""

    def __init__(self, build: Callable[[], Function], count: int, timeout_s: float) -> None:
        """
        Args:
            build: makes the function in each process, and warms it up: items wait for it without losing time. It
                travels to processes by pickle.
            count: of processes.
            timeout_s: for one item.
        """
        self._build, self._count, self._timeout_s = build, count, timeout_s
        self._workers: list[_Worker] = []
        self.replaced = 0
        """Processes that hung or died so far."""

    def map(self, items: Sequence[Any]) -> list[Any]:
        """The result of each item, or its `ItemFailure`: it raised, took too long, or took its process along."""
        results: list[Any] = [None] * len(items)
        waiting = deque(enumerate(items))
        self._drop_dead()
        while len(self._workers) < min(self._count, len(items)):
            self._workers.append(_Worker(self._build))
        while waiting or any(worker.item is not None for worker in self._workers):
            for worker in self._workers:
                if waiting and worker.is_free:
                    worker.give(*waiting.popleft(), self._timeout_s)
            self._wait()
            self._workers = [self._collect(worker, results) for worker in self._workers]
        return results

    def close(self) -> None:
        """End every process."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _drop_dead(self) -> None:
        """Forget processes that were killed while they had nothing to do."""
        alive = [worker for worker in self._workers if worker.is_alive]
        self.replaced += len(self._workers) - len(alive)
        self._workers = alive

    def _wait(self) -> None:
        """Until a process has something to say, or its time is up."""
        ends = [worker.deadline for worker in self._workers if not worker.is_free]
        wait([worker.pipe for worker in self._workers], max(0.0, min(ends, default=0.0) - time.monotonic()))

    def _collect(self, worker: "_Worker", results: list[Any]) -> "_Worker":
        """Take what a process has found; returns it, or the one in its place."""
        try:
            if worker.pipe.poll():
                worker.take(results)
            elif not worker.is_free and time.monotonic() > worker.deadline:
                return self._replace(worker, f"took longer than {self._timeout_s:g} s", results)
        except (EOFError, OSError):
            return self._replace(worker, "ended its process", results)
        return worker

    def _replace(self, worker: "_Worker", reason: str, results: list[Any]) -> "_Worker":
        worker.end()
        if worker.item is not None:
            results[worker.item] = ItemFailure(reason)
        elif not worker.is_free:
            raise RuntimeError("a process that computes rewards does not start: see what it wrote to stderr")
        self.replaced += 1
        return _Worker(self._build)


class _Worker:
    """One process, seen from the parent."""

    def __init__(self, build: Callable[[], Function]) -> None:
        context = _processes()
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(build, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False
        self.item: int | None = None
        """Number of the item it works on."""
        self.deadline = time.monotonic() + _START_S

    @property
    def is_free(self) -> bool:
        return self._ready and self.item is None

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def give(self, number: int, item: Any, timeout_s: float) -> None:
        self.item, self.deadline = number, time.monotonic() + timeout_s
        with suppress(OSError):  # it has just died: its pipe says so when it is read
            self.pipe.send(item)

    def take(self, results: list[Any]) -> None:
        """What it says: first that it is ready, then the result of its item."""
        found = self.pipe.recv()
        if self.item is None:
            self._ready = True
        else:
            results[self.item], self.item = found, None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _processes() -> ForkServerContext:
    """Processes forked from a clean server that has the rewards loaded: safe beside threads, and quick to replace."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simpleseg_core.rewards.function"])
    return context


def _work(build: Callable[[], Function], pipe: "Connection[Any, Any]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function = build()
    pipe.send(None)
    while True:
        item = pipe.recv()
        try:
            result = function(item)
        except Exception as error:
            result = ItemFailure(repr(error))
        pipe.send(result)


def _end_with_parent() -> None:
    """Leave no orphan behind a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
