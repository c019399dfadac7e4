"""One shard: its planned rows are fetched, checked and decoded side by side, and written as one tar and one parquet."""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.config import IngestConfig
from simpleseg_core.data.records import INGEST
from simpleseg_core.data.shards import write_shard
from simpleseg_core.data.web._decoder import Decoder
from simpleseg_core.data.web._fetch import Fetched, Fetcher
from simpleseg_core.data.web._images import Picture
from simpleseg_core.data.web._plan import PLAN
from simpleseg_core.data.web._politeness import Politeness
from simpleseg_core.data.web._status import Refused, Status

Row = Mapping[str, Any]
FINGERPRINT = b"simpleseg.ingest.fingerprint"
"""Key in a shard parquet's metadata: which settings wrote it. The parquet comes last, so it marks completion."""


@dataclass(frozen=True, slots=True)
class Services:
    """What all rows of a process share."""

    limits: IngestConfig
    fetcher: Fetcher
    decoder: Decoder
    politeness: Politeness


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture without its bytes, and where those wait in the spool until the shard is complete."""

    picture: Picture
    offset: int
    size: int
    final_url: str
    served: int


class _Spool:
    """An unnamed file that holds pictures in the order they arrive, so that a shard need not fit in memory."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)
        self._end = 0

    def append(self, data: bytes) -> int:
        offset, self._end = self._end, self._end + len(data)
        self._file.seek(offset)
        self._file.write(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


async def ingest_shard(plan: Path, output: Path, fingerprint: str, services: Services, work: Path) -> dict[str, int]:
    """Fetch the rows of a planned shard and write `NNNNN.tar`, then `NNNNN.parquet`, each whole or not at all.

    Returns:
        Rows of each status, and under `bytes` the bytes that were served.
    """
    rows = pq.read_table(plan, schema=PLAN).to_pylist()
    spool = _Spool(work)
    try:
        done = await asyncio.gather(*[_ingest_row(row, services, spool) for row in rows])
        records = [
            _record(row, result, plan.stem, index) for index, (row, result) in enumerate(zip(rows, done, strict=True))
        ]
        write_shard(_members(records, done, spool), output / f"{plan.stem}.tar")
    finally:
        spool.close()
    write_rows(records, output / f"{plan.stem}.parquet", fingerprint)
    return _count(records)


def write_rows(records: list[dict[str, Any]], path: Path, fingerprint: str) -> None:
    """Write a shard's rows whole or not at all, marked with the settings they were made by."""
    schema = INGEST.with_metadata({FINGERPRINT: fingerprint.encode()})
    temporary = path.with_suffix(".parquet.tmp")
    pq.write_table(pa.Table.from_pylist(records, schema=schema), temporary, compression="zstd")
    temporary.replace(path)


@dataclass(frozen=True, slots=True)
class _Timed:
    result: Stored | Refused
    seconds: float
    fetched_at: str


async def _ingest_row(row: Row, services: Services, spool: _Spool) -> _Timed:
    if row["status"] is not None:
        return _Timed(Refused(row["status"]), 0.0, "")
    start, now = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    result: Stored | Refused
    try:
        fetched, picture = await _fetch_picture(row, services)
        offset, size = spool.append(picture.data), len(picture.data)
        result = Stored(replace(picture, data=b""), offset, size, fetched.final_url, len(fetched.body))
    except Refused as refused:
        result = refused
    return _Timed(result, time.monotonic() - start, now)


async def _fetch_picture(row: Row, services: Services) -> tuple[Fetched, Picture]:
    """Fetch and decode with as many tries as the limits allow; pauses between tries hold no slot."""
    if row["body"] is not None:
        return Fetched(row["body"], row["url"]), await services.decoder.inspect(row["body"])
    url = services.fetcher.check(row["url"] or "")
    host, attempt = str(url.raw_host), 0
    while True:
        try:
            async with services.politeness.admit(host):
                fetched = await services.fetcher.fetch(url)
                return fetched, await services.decoder.inspect(fetched.body)
        except Refused as refused:
            pause = services.politeness.pause(refused, attempt, host)
            if pause is None:
                raise
        await asyncio.sleep(pause)
        attempt += 1


def _record(row: Row, timed: _Timed, shard: str, index: int) -> dict[str, Any]:
    record = {name: row[name] for name in ("row_id", "url", "text", "license", "annotations")}
    record |= {"shard": f"images/{shard}.tar", "seconds": round(timed.seconds, 4), "fetched_at": timed.fetched_at}
    if isinstance(timed.result, Refused):
        return record | {"status": timed.result.status, "detail": timed.result.detail}
    stored, picture = timed.result, timed.result.picture
    return record | {
        "status": str(Status.OK),
        "image": row["image"] or f"{shard}{index:06d}",
        "width": picture.width,
        "height": picture.height,
        "original_width": picture.original_width,
        "original_height": picture.original_height,
        "sha256": picture.sha256,
        "phash": picture.phash,
        "final_url": stored.final_url,
        "bytes": stored.served,
    }


def _members(records: list[dict[str, Any]], done: list[_Timed], spool: _Spool) -> Iterator[tuple[str, bytes]]:
    for record, timed in zip(records, done, strict=True):
        if isinstance(timed.result, Stored):
            yield f"{record['image']}.jpg", spool.read(timed.result.offset, timed.result.size)


def _count(records: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {"bytes": sum(record.get("bytes") or 0 for record in records)}
    for record in records:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return counts
