"""The downloader: metadata in, image shards out; what is finished is never done twice."""

import asyncio
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.config import FilterConfig, IngestConfig
from simpleseg_core.data.web._decoder import Decoder
from simpleseg_core.data.web._fetch import Fetcher
from simpleseg_core.data.web._metadata import url_key
from simpleseg_core.data.web._plan import KeySet, write_plan
from simpleseg_core.data.web._politeness import Politeness
from simpleseg_core.data.web._shard import FINGERPRINT, Services, ingest_shard

_log = logging.getLogger(__name__)

_SHARDS_AT_ONCE = 2
"""The rows of a second shard fill the slots that the slowest rows of a first one leave."""

# Settings that change what a shard holds; the others change only how fast it comes.
_CONTENT = frozenset(
    {"max_redirects", "max_bytes", "max_pixels", "min_side", "max_aspect", "honour_noai", "honour_robots", "shard_size"}
    | {"resize", "image_size", "jpeg_quality", "near_duplicate_bits"}
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


def ingest(job: Job, tables: Iterable[pa.Table], watcher: Watcher) -> dict[str, int]:
    """Bring the output folder up to date with the metadata: unfinished shards are finished, new rows become new shards.

    Args:
        job: where from, where to, and the limits.
        tables: metadata in the common schema (METADATA).
        watcher: is told how the work goes on.

    Returns:
        Rows of each status over all shards, finished earlier or now, as in `summary.json`.
    """
    plans = _plan(job, tables)
    watcher.planned(sum(pq.read_metadata(plan).num_rows for plan in plans))
    asyncio.run(_run(job, plans, watcher))
    for folder in (job.work / "plans").glob("[0-9]*"):
        shutil.rmtree(folder)
    return summarise(job.output)


def finished_shards(output: Path) -> list[Path]:
    """The parquet files of finished shards, in order."""
    return _in_order(output.glob("[0-9][0-9][0-9][0-9][0-9]*.parquet"))


def summarise(output: Path) -> dict[str, int]:
    """Count the rows of all finished shards by status and write `summary.json`."""
    counts: dict[str, int] = {}
    for shard in finished_shards(output):
        for status in pq.read_table(shard, columns=["status"])["status"].to_pylist():
            counts[status] = counts.get(status, 0) + 1
    summary = {
        "rows": sum(counts.values()),
        "shards": len(finished_shards(output)),
        "status": dict(sorted(counts.items())),
    }
    temporary = output / "summary.json.tmp"
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    temporary.replace(output / "summary.json")
    return counts


def _plan(job: Job, tables: Iterable[pa.Table]) -> list[Path]:
    """The plan files that are not finished yet, those of an interrupted run first."""
    job.output.mkdir(parents=True, exist_ok=True)
    folder = job.work / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    _drop_other_settings(job, folder)
    finished = finished_shards(job.output)
    planned = _in_order(folder.glob("[0-9]*[0-9]/*.parquet"))
    numbers = [int(file.stem) for file in (*finished, *planned)]
    known = KeySet(_keys([*finished, *planned]))
    first = max(numbers, default=-1) + 1
    left_out = write_plan(tables, job.filters, job.limits.shard_size, known, first, folder / f"{first:05d}")
    if left_out:
        _log.info("%d rows are known from earlier runs", left_out)
    names = {file.stem for file in finished}
    return [file for file in _in_order(folder.glob("[0-9]*[0-9]/*.parquet")) if file.stem not in names]


def _drop_other_settings(job: Job, folder: Path) -> None:
    """Remove shards and plans that other settings or another source made."""
    marker = folder / "fingerprint"
    if not marker.is_file() or marker.read_text() != job.fingerprint:
        shutil.rmtree(folder)
        folder.mkdir()
        marker.write_text(job.fingerprint)
    for shard in finished_shards(job.output):
        if (pq.read_schema(shard).metadata or {}).get(FINGERPRINT) != job.fingerprint.encode():
            shard.unlink()
            shard.with_suffix(".tar").unlink(missing_ok=True)


def _in_order(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda file: int(file.stem))


def _keys(files: Iterable[Path]) -> np.ndarray:
    return np.fromiter((url_key(url or "") for file in files for url in _urls(file)), np.uint64)


def _urls(file: Path) -> Iterator[str | None]:
    for batch in pq.ParquetFile(file).iter_batches(columns=["url"]):
        yield from batch["url"].to_pylist()


async def _run(job: Job, plans: list[Path], watcher: Watcher) -> None:
    gate = asyncio.Semaphore(_SHARDS_AT_ONCE)
    async with Fetcher(job.limits, routes=job.routes) as fetcher, Decoder(job.limits) as decoder:
        services = Services(job.limits, fetcher, decoder, Politeness(job.limits))

        async def run(plan: Path) -> None:
            async with gate:
                watcher.finished(await ingest_shard(plan, job.output, job.fingerprint, services, job.work))

        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(run(plan))
