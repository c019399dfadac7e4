"""Shards spread over Ray workers, through Ray Data: this machine by default, a cluster by its address."""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._ingest import Watcher, run_tasks
from simpleseg_core.fetch._job import FetchJob, ShardTask

_SHARDS_IN_A_BATCH = 4
"""What a worker takes at once; its event loop keeps two of them going side by side."""


def run_on_ray(job: FetchJob, tasks: Iterable[ShardTask], watcher: Watcher) -> None:
    """Do shards on the workers of the running Ray session, which must see the output and work folders.

    The limits on requests hold for all workers together: each gets its share.
    """
    import ray

    items = [{"path": str(task.path), "retry": task.retry} for task in tasks]
    if not items:
        return
    workers = min(job.limits.workers, len(items))
    shared = replace(job, limits=share_limits(job.limits, workers))
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    blocks = max(workers, -(-len(items) // _SHARDS_IN_A_BATCH))
    done = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        _Worker, batch_size=None, fn_constructor_args=(shared,), concurrency=workers, num_cpus=1
    )
    for row in done.iter_rows():
        watcher.finished(json.loads(row["counts"]))


def share_limits(limits: IngestConfig, workers: int) -> IngestConfig:
    """One worker's part of the limits that hold for all together."""
    parts: dict[str, Any] = {
        "concurrency": max(1, limits.concurrency // workers),
        "per_host": max(1, limits.per_host // workers),
        "rate": limits.rate / workers if limits.rate else None,
    }
    return limits.model_copy(update=parts)


class _Worker:
    """A Ray actor that does batches of shards."""

    def __init__(self, job: FetchJob) -> None:
        self._job = job

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        tasks = [ShardTask(Path(path), bool(retry)) for path, retry in zip(batch["path"], batch["retry"], strict=True)]
        notes = _Notes()
        asyncio.run(run_tasks(self._job, tasks, notes))
        return {"counts": notes.counts}


class _Notes:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.counts: list[str] = []

    def planned(self, rows: int) -> None:
        """Known to the driver."""

    def finished(self, counts: Mapping[str, int]) -> None:
        """A shard's counts, to be sent back."""
        self.counts.append(json.dumps(dict(counts)))
