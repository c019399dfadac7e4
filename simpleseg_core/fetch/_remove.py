"""Taking images out for good: a record in the image folder, kept by every later ingest, of what nobody may have."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from simpleseg_core.data.records import INGEST
from simpleseg_core.fetch._duplicates import keep_members
from simpleseg_core.fetch._files import fingerprint_of, finished_shards, write_rows
from simpleseg_core.fetch._metadata import url_key
from simpleseg_core.fetch._shard import image_key
from simpleseg_core.fetch._status import Status
from simpleseg_core.files import replacing

_RECORD = "removed.csv"
_FIELDS = ("url_key", "sha256", "removed_on")
_LEFT = ("row_id", "url", "license", "source", "shard")
"""What a row keeps: enough to count it, and to know its URL again."""


@dataclass(frozen=True, slots=True)
class Removals:
    """What has been asked to go: URLs by their keys, so that the record names no address, and images as served."""

    urls: frozenset[int]
    hashes: frozenset[str]

    @classmethod
    def of(cls, urls: Iterable[str], hashes: Iterable[str]) -> "Removals":
        """From URLs and hex sha256 sums.

        Raises:
            ValueError: something is no sha256 sum.
        """
        sums = frozenset(each.lower() for each in hashes)
        for each in sums:
            if len(each) != 64 or set(each) - set("0123456789abcdef"):
                raise ValueError(f"{each!r} is no sha256 sum: 64 hexadecimal digits")
        return cls(frozenset(map(url_key, urls)), sums)

    def name(self, row: dict[str, Any]) -> bool:
        """Whether a row of a shard has to go."""
        addresses = (row["url"], row["final_url"])
        return row["sha256"] in self.hashes or any(url_key(each) in self.urls for each in addresses if each)


def recorded(output: Path) -> Removals:
    """What the record of an image folder holds."""
    rows = list(_read(output / _RECORD))
    return Removals(
        frozenset(int(row["url_key"], 16) for row in rows if row["url_key"]),
        frozenset(row["sha256"] for row in rows if row["sha256"]),
    )


def removed_urls(output: Path) -> np.ndarray:
    """Keys (uint64) of the URLs that are not fetched again."""
    return np.fromiter(recorded(output).urls, np.uint64)


def matches(output: Path, removals: Removals) -> dict[Path, list[int]]:
    """Finished shard -> the rows of it that are to go and have not gone yet."""
    found = {shard: _named(shard, removals) for shard in finished_shards(output)}
    return {shard: rows for shard, rows in found.items() if rows}


def record(output: Path, removals: Removals) -> None:
    """Add to the record of an image folder, whole or not at all."""
    known, today = recorded(output), datetime.now(UTC).date().isoformat()
    new = [
        *({"url_key": f"{key:016x}", "removed_on": today} for key in sorted(removals.urls - known.urls)),
        *({"sha256": each, "removed_on": today} for each in sorted(removals.hashes - known.hashes)),
    ]
    rows = [*_read(output / _RECORD), *new]
    with replacing(output / _RECORD) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _FIELDS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def take_out_removed(output: Path) -> int:
    """Take what the record names out of all finished shards, their quarantine too; returns how many rows it emptied.

    Rows are written first: where that is all that happens, the next call takes the images.
    """
    removals = recorded(output)
    if not (removals.urls or removals.hashes):
        return 0
    return sum(_take_out(shard, removals) for shard in finished_shards(output))


def _named(shard: Path, removals: Removals) -> list[int]:
    rows = pq.read_table(shard, columns=["url", "final_url", "sha256", "status"]).to_pylist()
    return [index for index, row in enumerate(rows) if row["status"] != Status.REMOVED and removals.name(row)]


def _take_out(shard: Path, removals: Removals) -> int:
    named = set(_named(shard, removals))
    if named:
        rows = pq.read_table(shard, schema=INGEST).to_pylist()
        emptied = [_emptied(row) if index in named else row for index, row in enumerate(rows)]
        write_rows(emptied, shard, fingerprint_of(shard) or "")
    rows = pq.read_table(shard, columns=["image", "status"]).to_pylist()
    gone = [row["status"] == Status.REMOVED for row in rows]
    if any(gone):
        keep_members(shard.with_suffix(".tar"), {row["image"] for row in rows if row["image"]})
        quarantine = shard.parent / "quarantine" / f"{shard.stem}.tar"
        if quarantine.exists():
            keep_members(quarantine, {image_key(shard.stem, index) for index, each in enumerate(gone) if not each})
    return len(named)


def _emptied(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _LEFT} | {"status": str(Status.REMOVED)}


def _read(file: Path) -> Iterator[dict[str, str]]:
    if file.exists():
        with file.open(newline="", encoding="utf-8") as opened:
            yield from csv.DictReader(opened)
