"""Decoding in processes that may die: a body that crashes or hangs the decoder costs its own row and no other."""

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import accumulate
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Self

import psutil
from PIL import Image

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._images import DecodedImage, inspect
from simpleseg_core.fetch._status import Refused, Status

Decoded = DecodedImage | tuple[str, str]
"""A picture, or the status and detail of a refusal."""

_BATCH, _BATCH_BYTES = 16, 16 * 2**20
"""What travels to a worker process together: so many bodies, or fewer of so many bytes; each is copied on the way."""


class Decoder:
    """Inspects bodies in worker processes; bodies that wait at the same time travel together."""

    def __init__(self, limits: IngestConfig, processes: int = 1) -> None:
        self._limits = limits
        self._processes = processes
        self._waiting: list[tuple[bytes, asyncio.Future[Decoded]]] = []
        self._wake = asyncio.Event()
        self._pool = self._new_pool()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        # The first process blocks for as long as its server takes to import: not while requests are in flight, which
        # would all run out of time.
        await asyncio.to_thread(lambda: self._pool.submit(_work_on, []).result())
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._processes)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def inspect(self, body: bytes) -> DecodedImage:
        """Check and decode one body in a worker process.

        Raises:
            Refused: what `inspect` refuses, and `decoder_died`.
        """
        future: asyncio.Future[Decoded] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        self._wake.set()
        outcome = await future
        if isinstance(outcome, DecodedImage):
            return outcome
        raise Refused(*outcome)

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            count = _together([len(body) for body, _ in self._waiting])
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            if not self._waiting:
                self._wake.clear()
            await self._answer([body for body, _ in batch], [future for _, future in batch])

    async def _answer(self, bodies: Sequence[bytes], futures: Sequence[asyncio.Future[Decoded]]) -> None:
        try:
            outcomes = await self._run(bodies)
        except Exception as error:  # whoever waits must hear of it
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, outcome in zip(futures, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    async def _run(self, bodies: Sequence[bytes]) -> list[Decoded]:
        """Outcomes of a batch; after a crash each body gets a process of its own, so that the guilty one is known."""
        loop = asyncio.get_running_loop()
        pool = self._pool
        try:
            return await loop.run_in_executor(pool, _work_on, bodies)
        except BrokenProcessPool:
            if pool is self._pool:
                self._pool = self._new_pool()
        return [await self._run_alone(body) for body in bodies]

    async def _run_alone(self, body: bytes) -> Decoded:
        with self._new_pool(1) as pool:
            try:
                return (await asyncio.get_running_loop().run_in_executor(pool, _work_on, [body]))[0]
            except BrokenProcessPool:
                return Status.DECODER_DIED, "the decoder crashed, hung or ran out of memory"

    def _new_pool(self, processes: int | None = None) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            processes or self._processes,
            mp_context=_processes(),
            initializer=_start_worker,
            initargs=(self._limits,),
        )


def _together(sizes: Sequence[int]) -> int:
    """How many bodies of these sizes travel together, one at least."""
    totals = list(accumulate(sizes[:_BATCH]))
    return max(1, sum(total <= _BATCH_BYTES for total in totals))


def _processes() -> BaseContext:
    """Processes forked from a clean server that has the decoder loaded: safe beside threads, and quick to replace."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


_limits: IngestConfig


def _start_worker(limits: IngestConfig) -> None:
    global _limits
    _limits = limits
    # The header check has our own cap; Pillow's would only warn or raise at another number.
    Image.MAX_IMAGE_PIXELS = None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    size = psutil.Process().memory_info().vms + limits.decode_memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _end_with_parent() -> None:
    """Leave no orphan behind a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _inspect_all(bodies: Sequence[bytes]) -> list[Decoded]:
    return [_inspect_one(body) for body in bodies]


def _inspect_one(body: bytes) -> Decoded:
    # The timer's default action ends the process, even inside a decoder that never returns to Python.
    signal.setitimer(signal.ITIMER_PROF, _limits.decode_timeout_s)
    try:
        return inspect(body, _limits)
    except Refused as refused:
        return refused.status, refused.detail
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


_work_on: Callable[[Sequence[bytes]], list[Decoded]] = _inspect_all
"""What worker processes run; a test puts a decoder with a bug here."""
