"""The files of an output folder: finished shards, and how their rows are written."""

import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.data.records import INGEST
from simpleseg_core.files import replacing

_FINGERPRINT = b"simpleseg.ingest"


def finished_shards(output: Path) -> list[Path]:
    """The parquet files of finished shards, in order: a parquet is written after its tar, so it marks completion."""
    return by_number(output.glob("[0-9][0-9][0-9][0-9][0-9]*.parquet"))


def damage_of(shard: Path) -> str | None:
    """What is wrong with a finished shard, None for a whole one."""
    tar = shard.with_suffix(".tar")
    if not is_readable(shard):
        return "its rows cannot be read"
    if not tar.exists():
        return "its images are gone"
    return None if _has_end(tar) else "its images are cut short"


def is_readable(table: Path) -> bool:
    """Whether all of a table of our own can be read."""
    try:
        pq.read_table(table)
    except (pa.ArrowException, OSError):
        return False
    return True


def _has_end(tar: Path) -> bool:
    """Whether a tar ends as it is closed: with two empty blocks, in a whole record."""
    with tar.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        return size > 0 and size % tarfile.RECORDSIZE == 0 and not any(file.read())


def by_number(files: Iterable[Path]) -> list[Path]:
    """Shard files in the order of their numbers."""
    return sorted(files, key=lambda file: int(file.stem))


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path, fingerprint: str) -> None:
    """Write a shard's rows whole or not at all, marked with the settings they were made by."""
    schema = INGEST.with_metadata({_FINGERPRINT: fingerprint.encode()})
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), partial, compression="zstd")


def fingerprint_of(shard: Path) -> str | None:
    """The settings a shard was made by."""
    found: bytes | None = (pq.read_schema(shard).metadata or {}).get(_FINGERPRINT)
    return found.decode() if found is not None else None
