"""One shard: its rows are fetched, checked and decoded side by side, and written as one tar and one parquet."""

import asyncio
import hashlib
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from simpleseg_core.config import IngestConfig
from simpleseg_core.data.records import FETCHES, INGEST, write_table
from simpleseg_core.data.shards import write_shard
from simpleseg_core.fetch._decoder import Decoder
from simpleseg_core.fetch._fetch import Fetched, Fetcher
from simpleseg_core.fetch._files import fingerprint_of, write_rows
from simpleseg_core.fetch._images import DecodedImage
from simpleseg_core.fetch._plan import PLAN
from simpleseg_core.fetch._politeness import Politeness
from simpleseg_core.fetch._status import Refused, Status, may_pass

Row = Mapping[str, Any]
Counts = dict[str, int]
"""Rows of each status, and under `bytes` the bytes that were served."""

_COPIED = ("row_id", "url", "text", "license", "source", "hash", "hash_kind", "annotations")


@dataclass(frozen=True, slots=True)
class Services:
    """What all rows of a process share."""

    limits: IngestConfig
    fetcher: Fetcher
    decoder: Decoder
    politeness: Politeness


@dataclass(frozen=True, slots=True)
class _Stored:
    """A picture without its bytes, and where those wait in the spool until the shard is complete."""

    picture: DecodedImage
    offset: int
    size: int
    final_url: str
    served: int
    mismatch: str
    """Why it is not the image that the metadata promised; empty if it is."""


@dataclass(frozen=True, slots=True)
class _Done:
    result: _Stored | Refused
    seconds: float = 0.0
    fetched_at: str = ""
    """Empty for rows that are not fetched at all."""


class _Spool:
    """An unnamed file that holds pictures in the order they arrive, so that a shard need not fit in memory."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)
        self._end = 0

    def append(self, data: bytes) -> int:
        """Where the data went."""
        offset, self._end = self._end, self._end + len(data)
        self._file.seek(offset)
        self._file.write(data)
        return offset

    def read(self, stored: _Stored) -> bytes:
        """The bytes of a picture."""
        self._file.seek(stored.offset)
        return self._file.read(stored.size)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


async def ingest_shard(plan: Path, output: Path, fingerprint: str, services: Services, work: Path) -> Counts:
    """Fetch the rows of a planned shard; write `NNNNN.tar`, then `NNNNN.parquet`, each whole or not at all.

    Images that are not what their metadata promises go to `quarantine/NNNNN.tar`.
    """
    rows = pq.read_table(plan, schema=PLAN).to_pylist()
    spool = _Spool(work)
    try:
        done = dict(enumerate(await _ingest_rows(rows, services, spool)))
        records = [_record(row, done[index], plan.stem, index) for index, row in enumerate(rows)]
        # Beside the event loop: a slow disk must not run down the time caps of requests in flight.
        await asyncio.to_thread(_write, records, done, spool, output / plan.name, fingerprint, work)
    finally:
        spool.close()
    return _count(records)


async def retry_shard(shard: Path, services: Services, work: Path) -> Counts:
    """Fetch the rows of a finished shard again whose failure may pass; write it as if they had come the first time."""
    records = pq.read_table(shard, schema=INGEST).to_pylist()
    again = [index for index, record in enumerate(records) if may_pass(record["status"])]
    rows = [records[index] | {"status": None, "body": None} for index in again]
    spool = _Spool(work)
    try:
        done = dict(zip(again, await _ingest_rows(rows, services, spool), strict=True))
        for index, row in zip(again, rows, strict=True):
            records[index] = _record(row, done[index], shard.stem, index)
        await asyncio.to_thread(_write, records, done, spool, shard, fingerprint_of(shard) or "", work)
    finally:
        spool.close()
    return _count([records[index] for index in again])


def _write(
    records: Sequence[Row], done: Mapping[int, _Done], spool: _Spool, shard: Path, fingerprint: str, work: Path
) -> None:
    """Write tar, quarantine and, last, rows; images that were not fetched now come from the tar as it is.

    When they were fetched goes to a file of its own in `work/fetches`: shards are the same whenever they are made.
    """
    tar = shard.with_suffix(".tar")
    with tarfile.open(tar) if tar.exists() else nullcontext() as previous:
        write_shard(_members(records, done, spool, previous), tar)
    _quarantine(shard.stem, done, spool, shard.parent)
    if fetches := [_fetch_row(records[index], item) for index, item in done.items() if item.fetched_at]:
        moment = max(row["fetched_at"] for row in fetches).replace(":", "")
        write_table(fetches, FETCHES, work / "fetches" / f"{shard.stem}-{moment}.parquet")
    write_rows(records, shard, fingerprint)


async def _ingest_rows(rows: Sequence[Row], services: Services, spool: _Spool) -> list[_Done]:
    wanted = [row for row in rows if row["status"] is None]
    fetched = iter(await asyncio.gather(*[_ingest_row(row, services, spool) for row in wanted]))
    return [next(fetched) if row["status"] is None else _Done(Refused(row["status"])) for row in rows]


async def _ingest_row(row: Row, services: Services, spool: _Spool) -> _Done:
    start, now = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    result: _Stored | Refused
    try:
        fetched, picture = await _fetch_picture(row, services)
        offset, size = spool.append(picture.data), len(picture.data)
        mismatch = _mismatch(row, fetched.body, picture, services.limits.max_hash_distance)
        result = _Stored(replace(picture, data=b""), offset, size, fetched.final_url, len(fetched.body), mismatch)
    except Refused as refused:
        result = refused
    return _Done(result, time.monotonic() - start, now)


async def _fetch_picture(row: Row, services: Services) -> tuple[Fetched, DecodedImage]:
    """Fetch and decode with as many tries as the limits allow; pauses between tries hold no slot."""
    if row["body"] is not None:
        return Fetched(row["body"], row["url"]), await services.decoder.inspect(row["body"])
    url = services.fetcher.check(row["url"] or "")
    host, attempt = str(url.raw_host), 0
    while True:
        try:
            async with services.politeness.admit(host):
                async with services.fetcher.fetch(url) as fetched:
                    return fetched, await services.decoder.inspect(fetched.body)
        except Refused as refused:
            pause = services.politeness.pause(refused, attempt, host)
            if pause is None:
                raise
        await asyncio.sleep(pause)
        attempt += 1


def _mismatch(row: Row, body: bytes, picture: DecodedImage, max_distance: int) -> str:
    """How the image differs from the hash that its metadata promises; empty where it does not."""
    promised, kind = (row["hash"] or "").lower(), row["hash_kind"]
    if not promised:
        return ""
    if kind is None:
        return f"{promised} has no hash_kind"
    if kind == "phash":
        try:
            distance = (int(promised, 16) ^ int(picture.phash, 16)).bit_count()
        except ValueError:
            return f"{promised!r} is no perceptual hash"
        return f"phash differs in {distance} bits" if distance > max_distance else ""
    found = picture.sha256 if kind == "sha256" else hashlib.new(kind, body, usedforsecurity=False).hexdigest()
    return f"{kind} is {found}, not {promised}" if found != promised else ""


def _record(row: Row, done: _Done, shard: str, index: int) -> dict[str, Any]:
    record = {name: row[name] for name in _COPIED}
    record |= {"shard": f"images/{shard}.tar"}
    if isinstance(done.result, Refused):
        return record | {"status": done.result.status, "detail": done.result.detail}
    stored = done.result
    record |= stored.picture.columns | {
        "status": str(Status.OK),
        "image": row["image"] or image_key(shard, index),
        "final_url": stored.final_url,
        "bytes": stored.served,
    }
    if stored.mismatch:
        record |= {"status": str(Status.HASH_MISMATCH), "detail": stored.mismatch, "image": None}
    return record


def _fetch_row(record: Row, done: _Done) -> dict[str, Any]:
    times = {"seconds": round(done.seconds, 4), "fetched_at": done.fetched_at}
    return {name: record[name] for name in ("row_id", "url", "status")} | times


def image_key(shard: str, index: int) -> str:
    """What the image of a row is called, unless its metadata says so."""
    return f"{shard}{index:06d}"


def _members(
    records: Sequence[Row], done: Mapping[int, _Done], spool: _Spool, previous: tarfile.TarFile | None = None
) -> Iterator[tuple[str, bytes]]:
    """The images of a shard in the order of its rows: those just fetched, and those that an earlier tar holds."""
    for index, record in enumerate(records):
        if record.get("image") is None:
            continue
        name = f"{record['image']}.jpg"
        fetched = done[index].result if index in done else None
        if isinstance(fetched, _Stored):
            yield name, spool.read(fetched)
        elif previous is not None and (file := previous.extractfile(name)) is not None:
            yield name, file.read()


def _quarantine(shard: str, done: Mapping[int, _Done], spool: _Spool, output: Path) -> None:
    """Put the images that are not what their metadata promised where nobody takes them for data."""
    suspects = {
        f"{image_key(shard, index)}.jpg": spool.read(item.result)
        for index, item in done.items()
        if isinstance(item.result, _Stored) and item.result.mismatch
    }
    path = output / "quarantine" / f"{shard}.tar"
    if suspects:
        write_shard(sorted((_members_of(path) | suspects).items()), path)


def _members_of(path: Path) -> dict[str, bytes]:
    if not path.exists():
        return {}
    with tarfile.open(path) as tar:
        return {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}


def _count(records: Sequence[Row]) -> Counts:
    statuses = Counter(record["status"] for record in records)
    return {**statuses, "bytes": sum(record.get("bytes") or 0 for record in records)}
