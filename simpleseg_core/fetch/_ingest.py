"""The downloader: metadata in, image shards out; what is finished is never done twice."""

import asyncio
import errno
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simpleseg_core.fetch._decoder import Decoder
from simpleseg_core.fetch._duplicates import drop_near_duplicates
from simpleseg_core.fetch._fetch import Fetcher
from simpleseg_core.fetch._files import finished_shards
from simpleseg_core.fetch._job import FetchJob, ShardTask
from simpleseg_core.fetch._politeness import Politeness
from simpleseg_core.fetch._remove import take_out_removed
from simpleseg_core.fetch._resume import plan_tasks
from simpleseg_core.fetch._shard import Counts, Services, ingest_shard, retry_shard
from simpleseg_core.fetch._status import Status
from simpleseg_core.files import write_json

_SHARDS_AT_ONCE = 2
"""The rows of a second shard fill the slots that the slowest rows of a first one leave."""


class Watcher(Protocol):
    """Is told how the work goes on."""

    def planned(self, rows: int) -> None:
        """So many rows are to be done."""

    def finished(self, counts: Mapping[str, int]) -> None:
        """A shard is complete: its rows of each status, and under `bytes` the bytes that were served."""


Run = Callable[[FetchJob, Iterable[ShardTask], Watcher], None]
"""Does shards: `run_here`, or on the workers of Ray."""


def ingest(job: FetchJob, tables: Iterable[pa.Table], watcher: Watcher, run: Run | None = None) -> dict[str, int]:
    """Bring the output folder up to date with the metadata: unfinished shards are finished, new rows become new shards.

    Args:
        job: where from, where to, and the limits.
        tables: metadata in the common schema (METADATA).
        watcher: is told how the work goes on.
        run: does the shards; in this process when it is None.

    Returns:
        Rows of each status over all shards, finished earlier or now, as in `summary.json`.

    Raises:
        OSError: the disk is full; finished shards are intact, and the next call goes on from there.
        ValueError: the sink holds shards of other settings, or a damaged one.
    """
    tasks = plan_tasks(job, tables)
    watcher.planned(sum(task.rows for task in tasks))
    try:
        (run or run_here)(job, tasks, watcher)
    except* OSError as errors:
        raise _disk_error(errors, job) from errors
    take_out_removed(job.output)  # the same picture may have come from elsewhere, or by an older plan
    if job.limits.near_duplicate_bits is not None:
        drop_near_duplicates(job.output, job.limits.near_duplicate_bits)
    for folder in (job.work / "plans").glob("[0-9]*"):
        shutil.rmtree(folder)
    counts = summarise(job.output)
    if job.sink is not None:
        job.sink.complete(job.output)
    return counts


def summarise(output: Path) -> dict[str, int]:
    """Count the rows of all finished shards by status and write `summary.json`."""
    statuses: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    shards = finished_shards(output)
    size = 0
    for shard in shards:
        status, license_, served = count_rows(shard)
        statuses += status
        licenses += license_
        size += served
    write_json(
        output / "summary.json",
        {
            "rows": statuses.total(),
            "images": statuses["ok"],
            "shards": len(shards),
            "bytes": size,
            "status": dict(sorted(statuses.items())),
            "license": dict(sorted(licenses.items())),
        },
    )
    return dict(statuses)


def count_rows(shard: Path) -> tuple[Counter[str], Counter[str], int]:
    """Of a finished shard: rows of each status, images of each licence, and bytes of the images as served."""
    table = pq.read_table(shard, columns=["status", "license", "bytes"])
    images = table.filter(pc.equal(table["status"], str(Status.OK)))
    licenses: Counter[str] = Counter()
    for each in images["license"].value_counts().to_pylist():
        licenses[each["values"] or "unknown"] += each["counts"]
    statuses = Counter({each["values"]: each["counts"] for each in table["status"].value_counts().to_pylist()})
    return statuses, licenses, pc.sum(images["bytes"]).as_py() or 0


def run_here(job: FetchJob, tasks: Iterable[ShardTask], watcher: Watcher) -> None:
    """Do shards in this process."""
    asyncio.run(run_tasks(job, tasks, watcher, job.limits.workers))


async def run_tasks(job: FetchJob, tasks: Iterable[ShardTask], watcher: Watcher, decoders: int = 1) -> None:
    """Do shards with one set of connections and some decoder processes, a few shards at a time."""
    gate = asyncio.Semaphore(_SHARDS_AT_ONCE)
    mark = job.fingerprint
    async with Fetcher(job.limits, routes=job.routes) as fetcher, Decoder(job.limits, decoders) as decoder:
        services = Services(job.limits, fetcher, decoder, Politeness(job.limits))

        async def run(task: ShardTask) -> None:
            async with gate:
                watcher.finished(await _run_task(task, job, mark, services))

        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(run(task))


async def _run_task(task: ShardTask, job: FetchJob, mark: str, services: Services) -> Counts:
    if task.retry:
        counts = await retry_shard(task.path, services, job.work)
    else:
        counts = await ingest_shard(task.path, job.output, mark, services, job.work)
    if job.sink is not None:
        await asyncio.to_thread(job.sink.send, job.output / f"{task.path.stem}.parquet")
    return counts


def _disk_error(errors: BaseExceptionGroup[OSError], job: FetchJob) -> OSError:
    """What to tell people of the first error among those of many shards."""
    first = next(_leaves(errors))
    if first.errno != errno.ENOSPC:
        return first
    return OSError(
        errno.ENOSPC,
        f"no space left for {job.output} or {job.work}; the {len(finished_shards(job.output))} finished shards are "
        "intact: free some space and run again to go on from there",
    )


def _leaves(errors: BaseExceptionGroup[OSError]) -> Iterator[OSError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
