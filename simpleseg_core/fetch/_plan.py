"""The work list: metadata rows cut into shards; every row belongs to one, and a killed run knows what is left."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simpleseg_core.config import FilterConfig
from simpleseg_core.fetch._filters import refused_by_filters
from simpleseg_core.fetch._schemas import METADATA
from simpleseg_core.fetch._status import Status

PLAN = pa.schema([*METADATA, ("status", pa.string())])
"""Metadata and the reason not to fetch a row, null for rows to fetch."""

_FILTERED_ROWS = 20_000
"""A shard closes when it holds this many rows more than it may fetch, so that strict filters do not make it endless."""
_SHARD_BYTES = 128 * 2**20
"""A shard closes when its plan has this many bytes: they are held in memory, images that came with the rows too."""


class KeySet:
    """A set of 64-bit keys in 8 bytes each: a large sorted array, and a small one merged into it now and then."""

    def __init__(self, keys: np.ndarray | None = None) -> None:
        self._large = np.unique(keys) if keys is not None else np.empty(0, np.uint64)
        self._small = np.empty(0, np.uint64)

    def contains(self, keys: np.ndarray) -> np.ndarray:
        """Bool for each key."""
        found: np.ndarray = _in_sorted(keys, self._large) | _in_sorted(keys, self._small)
        return found

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Add keys; bool for each: False for those that were there, earlier in this call included."""
        _, first = np.unique(keys, return_index=True)
        new = np.zeros(len(keys), bool)
        new[first] = True
        new &= ~self.contains(keys)
        self._small = np.union1d(self._small, keys[new])
        if len(self._small) > 1_000_000 + len(self._large) // 8:
            self._large, self._small = np.union1d(self._large, self._small), np.empty(0, np.uint64)
        return new


@dataclass(slots=True)
class _Shard:
    """Rows that wait for their shard to fill."""

    size: int
    tables: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    fetched: int = 0
    bytes: int = 0

    def room_for(self, to_fetch: np.ndarray) -> int:
        """How many of the coming rows still belong to this shard."""
        full = np.flatnonzero(np.cumsum(to_fetch) == self.size - self.fetched)
        room = self.size + _FILTERED_ROWS - self.rows
        return min(room, int(full[0]) + 1 if len(full) else len(to_fetch), len(to_fetch))

    def add(self, table: pa.Table, to_fetch: np.ndarray) -> None:
        self.tables.append(table)
        self.rows += len(to_fetch)
        self.fetched += int(to_fetch.sum())
        self.bytes += table.nbytes

    @property
    def is_full(self) -> bool:
        rows = self.size + _FILTERED_ROWS
        return self.fetched >= self.size or self.rows >= rows or self.bytes >= _SHARD_BYTES


def write_plan(
    tables: Iterable[pa.Table],
    filters: FilterConfig,
    shard_size: int,
    known: KeySet,
    first: int,
    folder: Path,
    gaps: Iterable[int] = (),
) -> int:
    """Cut new rows into shards of at most `shard_size` rows to fetch, in order, and write one parquet for each.

    Shards are numbered from `first`, after the numbers in `gaps`.

    Rows whose URL is known from an earlier run are left out. The folder appears when all of it is written.

    Returns:
        The number of rows that were left out.
    """
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    left_out = _Counter()
    judged = _judge(tables, filters, known, left_out)
    for number, shard in zip(chain(gaps, count(first)), _cut(judged, shard_size), strict=False):
        pq.write_table(shard, temporary / f"{number:05d}.parquet", compression="zstd")
    temporary.replace(folder)
    return left_out.rows


@dataclass(slots=True)
class _Counter:
    rows: int = 0


def _judge(tables: Iterable[pa.Table], filters: FilterConfig, known: KeySet, left_out: _Counter) -> Iterator[pa.Table]:
    seen = KeySet()
    for table in tables:
        unknown = ~known.contains(table["key"].to_numpy())
        left_out.rows += int((~unknown).sum())
        fresh = table.filter(pa.array(unknown))
        status = refused_by_filters(fresh, filters)
        repeated = pc.and_(pc.is_null(status), pa.array(~seen.add(fresh["key"].to_numpy())))
        yield fresh.append_column("status", pc.if_else(repeated, str(Status.DUPLICATE_URL), status)).cast(PLAN)


def _cut(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    shard = _Shard(size)
    for table in tables:
        to_fetch = table["status"].is_null().to_numpy(zero_copy_only=False)
        start = 0
        while start < len(to_fetch):
            count = shard.room_for(to_fetch[start:])
            shard.add(table.slice(start, count), to_fetch[start : start + count])
            start += count
            if shard.is_full:
                yield pa.concat_tables(shard.tables)
                shard = _Shard(size)
    if shard.rows:
        yield pa.concat_tables(shard.tables)


def _in_sorted(keys: np.ndarray, array: np.ndarray) -> np.ndarray:
    if not len(array):
        return np.zeros(len(keys), bool)
    position = np.minimum(np.searchsorted(array, keys), len(array) - 1)
    found: np.ndarray = array[position] == keys
    return found
