"""The downloader: metadata in, image shards out; what is finished is never done twice."""

import asyncio
import errno
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simpleseg_core.config import FilterConfig, IngestConfig
from simpleseg_core.data.web._decoder import Decoder
from simpleseg_core.data.web._duplicates import drop_near_duplicates
from simpleseg_core.data.web._fetch import Fetcher
from simpleseg_core.data.web._files import by_number, fingerprint_of, finished_shards
from simpleseg_core.data.web._metadata import url_key
from simpleseg_core.data.web._plan import KeySet, write_plan
from simpleseg_core.data.web._politeness import Politeness
from simpleseg_core.data.web._shard import Counts, Services, ingest_shard, retry_shard
from simpleseg_core.data.web._sink import Sink
from simpleseg_core.data.web._status import Status, may_pass
from simpleseg_core.files import write_json

_log = logging.getLogger(__name__)

_SHARDS_AT_ONCE = 2
"""The rows of a second shard fill the slots that the slowest rows of a first one leave."""

# Settings that change what a shard holds; the others change only how fast it comes.
_CONTENT = frozenset(
    {"max_redirects", "max_bytes", "max_pixels", "min_side", "max_aspect", "honour_noai", "honour_robots", "shard_size"}
    | {"resize", "image_size", "jpeg_quality", "near_duplicate_bits", "max_hash_distance"}
)


class Watcher(Protocol):
    """Is told how the work goes on."""

    def planned(self, rows: int) -> None:
        """So many rows are to be done."""

    def finished(self, counts: Mapping[str, int]) -> None:
        """A shard is complete: its rows of each status, and under `bytes` the bytes that were served."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to ingest and where to."""

    source: str
    """Identity of the metadata; another one starts the output folder anew."""
    filters: FilterConfig
    limits: IngestConfig
    output: Path
    work: Path
    """Local folder for plans and half-finished shards."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """host:port -> host:port to connect to instead; for servers of our own that have no public name."""

    @property
    def fingerprint(self) -> str:
        """Names everything that shards depend on but the rows themselves."""
        settings = {
            "source": self.source,
            "filters": self.filters.model_dump(),
            "limits": self.limits.model_dump(include=set(_CONTENT)),
        }
        return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def sink(self) -> Sink | None:
        """Where finished shards go as well."""
        return Sink(self.limits.sink) if self.limits.sink is not None else None


@dataclass(frozen=True, slots=True)
class Task:
    """A shard to do: a plan, or a finished shard whose failures are tried again."""

    path: Path
    retry: bool

    @property
    def rows(self) -> int:
        """How many rows there are to do."""
        if not self.retry:
            return int(pq.read_metadata(self.path).num_rows)
        return sum(may_pass(status) for status in pq.read_table(self.path, columns=["status"])["status"].to_pylist())


Run = Callable[[Job, Iterable[Task], Watcher], None]
"""Does shards: `run_here`, or on the workers of Ray."""


def ingest(job: Job, tables: Iterable[pa.Table], watcher: Watcher, run: Run | None = None) -> dict[str, int]:
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
    tasks = _plan(job, tables)
    watcher.planned(sum(task.rows for task in tasks))
    try:
        (run or run_here)(job, tasks, watcher)
    except* OSError as errors:
        raise _disk_error(errors, job) from errors
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


def run_here(job: Job, tasks: Iterable[Task], watcher: Watcher) -> None:
    """Do shards in this process."""
    asyncio.run(run_tasks(job, tasks, watcher, job.limits.workers))


async def run_tasks(job: Job, tasks: Iterable[Task], watcher: Watcher, decoders: int = 1) -> None:
    """Do shards with one set of connections and some decoder processes, a few shards at a time."""
    gate = asyncio.Semaphore(_SHARDS_AT_ONCE)
    fingerprint = job.fingerprint
    async with Fetcher(job.limits, routes=job.routes) as fetcher, Decoder(job.limits, decoders) as decoder:
        services = Services(job.limits, fetcher, decoder, Politeness(job.limits))

        async def run(task: Task) -> None:
            async with gate:
                watcher.finished(await _run_task(task, job, fingerprint, services))

        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(run(task))


async def _run_task(task: Task, job: Job, fingerprint: str, services: Services) -> Counts:
    if task.retry:
        counts = await retry_shard(task.path, services, job.work)
    else:
        counts = await ingest_shard(task.path, job.output, fingerprint, services, job.work)
    if job.sink is not None:
        await asyncio.to_thread(job.sink.send, job.output / f"{task.path.stem}.parquet")
    return counts


def _plan(job: Job, tables: Iterable[pa.Table]) -> list[Task]:
    """What is to be done: failures that may pass, the plans of an interrupted run, and plans for new rows."""
    folder = job.work / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    job.output.mkdir(parents=True, exist_ok=True)
    elsewhere = job.sink.shards(job.fingerprint) if job.sink is not None else {}
    _clean_up(job, folder)
    if job.sink is not None:
        job.sink.bring_back(elsewhere, job.output)
    finished = finished_shards(job.output)
    planned = by_number(folder.glob("*[0-9]/*.parquet"))
    numbers = [int(file.stem) for file in (*finished, *planned)]
    first = max(numbers, default=-1) + 1
    known = KeySet(_keys([*finished, *planned]))
    left_out = write_plan(tables, job.filters, job.limits.shard_size, known, first, folder / f"{first:05d}")
    _log.info("%d rows were known already", left_out)
    names = {file.stem for file in finished}
    plans = [file for file in by_number(folder.glob("*[0-9]/*.parquet")) if file.stem not in names]
    retries = [Task(shard, True) for shard in finished] if job.limits.retry_failed else []
    return [task for task in retries if task.rows] + [Task(plan, False) for plan in plans]


def _clean_up(job: Job, folder: Path) -> None:
    """Remove half-written files, and shards and plans that other settings or another source made."""
    for file in job.output.rglob("*.tmp"):
        file.unlink()
    marker = folder / "fingerprint"
    if not marker.is_file() or marker.read_text() != job.fingerprint:
        shutil.rmtree(folder)
        folder.mkdir()
        marker.write_text(job.fingerprint)
    for shard in finished_shards(job.output):
        if fingerprint_of(shard) != job.fingerprint:
            shard.unlink()
            for tar in (shard.with_suffix(".tar"), job.output / "quarantine" / f"{shard.stem}.tar"):
                tar.unlink(missing_ok=True)


def _keys(files: Iterable[Path]) -> np.ndarray:
    return np.fromiter((url_key(url or "") for file in files for url in _urls(file)), np.uint64)


def _urls(file: Path) -> Iterator[str | None]:
    for batch in pq.ParquetFile(file).iter_batches(columns=["url"]):
        yield from batch["url"].to_pylist()


def _disk_error(errors: BaseExceptionGroup[OSError], job: Job) -> OSError:
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
