"""Shard by shard from one folder of tables to another: finished shards are marked, and skipped when nothing changed."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from simpleseg_core.data.records import read_rows, write_table
from simpleseg_core.files import write_json
from simpleseg_core.stages._base import Context

Row = dict[str, Any]
Counts = Mapping[str, float]
Transform = Callable[[Sequence[Row]], tuple[Sequence[Row], Counts]]

_MARK, _COUNTS = b"simpleseg.mark", b"simpleseg.counts"
"""Keys in the metadata of a finished shard's parquet: what it was made from, and what was counted on the way."""
_log = logging.getLogger(__name__)


class Tally(dict[str, float]):
    """Named sums; what was never counted is 0."""

    def __missing__(self, name: str) -> float:
        return 0

    def add(self, counts: Counts) -> None:
        """Add to each sum."""
        for name, value in counts.items():
            self[name] += value


@dataclass(frozen=True, slots=True)
class ShardMap:
    """One table in, one table of the same name out, for every shard of a folder."""

    source: Path
    target: Path
    read: pa.Schema
    write: pa.Schema
    mark: str
    """What the rows depend on besides the input shard: see `digest`."""

    def run(self, transform: Transform, context: Context) -> "Tally":
        """Transform every shard that is not finished, delete tables of shards that are gone, write `summary.json`.

        Returns:
            The counts of all shards together, those of earlier runs included.

        Raises:
            FileNotFoundError: the source folder holds no shard.
        """
        shards = shard_tables(self.source)
        _remove_others(self.target, {path.name for path in shards})
        context.progress.start(len(shards), self.target.name)
        total = Tally()
        for path in shards:
            total.add(self._shard(path, transform))
            context.progress.advance()
        write_json(self.target / "summary.json", dict(sorted(total.items())))
        return total

    def _shard(self, path: Path, transform: Transform) -> Counts:
        mark = sha256(self.mark.encode() + path.read_bytes()).hexdigest()
        output = self.target / path.name
        finished = _finished(output, mark)
        if finished is not None:
            _log.info("%s: finished before, kept", output.name)
            return finished
        rows, counts = transform(read_rows(path, self.read))
        metadata = {_MARK: mark.encode(), _COUNTS: json.dumps(counts, sort_keys=True).encode()}
        write_table(rows, self.write.with_metadata(metadata), output)
        return counts


def shard_tables(folder: Path) -> list[Path]:
    """The tables of a folder that belong to shards (`00000.parquet`), in order.

    Raises:
        FileNotFoundError: there is none.
    """
    tables = sorted(folder.glob("[0-9]*.parquet"))
    if not tables:
        raise FileNotFoundError(f"{folder}: no shard here; run the stage that writes it first (`simpleseg status`)")
    return tables


def digest(*parts: BaseModel | str | int) -> str:
    """Configuration sections and values as one text that changes when any of them does."""
    return "\n".join(part.model_dump_json() if isinstance(part, BaseModel) else str(part) for part in parts)


def by_image(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows grouped by image, images in the order in which they first appear."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["image"], []).append(row)
    return groups


def _finished(output: Path, mark: str) -> Counts | None:
    """The counts of a shard that was finished from the same input, else None."""
    if not output.is_file():
        return None
    try:
        metadata = pq.read_schema(output).metadata or {}
    except pa.ArrowInvalid:
        return None
    if metadata.get(_MARK) != mark.encode():
        return None
    counts: dict[str, float] = json.loads(metadata[_COUNTS])
    return counts


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*.parquet*"):
        if path.name not in names:
            path.unlink()
