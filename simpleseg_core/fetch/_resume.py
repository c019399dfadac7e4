"""Where a run goes on: what of the output folder is whole, what has to be done, and what has to be done again."""

import logging
import shutil
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.fetch._files import by_number, damage_of, fingerprint_of, finished_shards, is_readable
from simpleseg_core.fetch._job import FetchJob, ShardTask
from simpleseg_core.fetch._metadata import url_key
from simpleseg_core.fetch._plan import KeySet, write_plan
from simpleseg_core.fetch._remove import removed_urls

_log = logging.getLogger(__name__)


def plan_tasks(job: FetchJob, tables: Iterable[pa.Table]) -> list[ShardTask]:
    """What is to be done: failures that may pass, the plans of an interrupted run, and plans for new rows.

    A damaged shard is discarded. If it does not come back from the sink, its rows are new ones: they are fetched again
    under the same number, and what comes is the shard that was lost.
    """
    folder = job.work / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    job.output.mkdir(parents=True, exist_ok=True)
    rest = iter(tables)
    start = list(islice(rest, 1))  # what cannot be read must be known before shards of other settings go
    elsewhere = job.sink.shards(job.fingerprint) if job.sink is not None else {}
    _clean_up(job, folder)
    if job.sink is not None:
        job.sink.bring_back(elsewhere, job.output)
    finished = finished_shards(job.output)
    planned = by_number(folder.glob("*[0-9]/*.parquet"))
    taken = {int(file.stem) for file in (*finished, *planned)}
    first = max(taken, default=-1) + 1
    gaps = sorted(set(range(first)) - taken)
    known = KeySet(np.concatenate([_keys([*finished, *planned]), removed_urls(job.output)]))
    target = folder / f"{(*gaps, first)[0]:05d}"
    left_out = write_plan(chain(start, rest), job.filters, job.limits.shard_size, known, first, target, gaps)
    _log.info("%d rows were known already", left_out)
    names = {file.stem for file in finished}
    plans = [file for file in by_number(folder.glob("*[0-9]/*.parquet")) if file.stem not in names]
    retries = [ShardTask(shard, True) for shard in finished] if job.limits.retry_failed else []
    return [task for task in retries if task.rows] + [ShardTask(plan, False) for plan in plans]


def _clean_up(job: FetchJob, folder: Path) -> None:
    """Remove half-written files, and shards and plans that other settings or another source made."""
    for file in job.output.rglob("*.tmp"):
        file.unlink()
    marker = folder / "fingerprint"
    if not marker.is_file() or marker.read_text() != job.fingerprint:
        shutil.rmtree(folder)
        folder.mkdir()
        marker.write_text(job.fingerprint)
    for plan in folder.glob("*[0-9]/*.parquet"):
        if not is_readable(plan):
            plan.unlink()
    for shard in finished_shards(job.output):
        damage = damage_of(shard)
        if damage is not None:
            _log.warning("%s: %s; the shard is made again", shard, damage)
        if damage is not None or fingerprint_of(shard) != job.fingerprint:
            for file in (shard, shard.with_suffix(".tar"), job.output / "quarantine" / f"{shard.stem}.tar"):
                file.unlink(missing_ok=True)


def _keys(files: Iterable[Path]) -> np.ndarray:
    return np.fromiter((url_key(url or "") for file in files for url in _urls(file)), np.uint64)


def _urls(file: Path) -> Iterator[str | None]:
    for batch in pq.ParquetFile(file).iter_batches(columns=["url"]):
        yield from batch["url"].to_pylist()
