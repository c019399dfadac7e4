"""Shard by shard from one folder of tables to another: finished shards are marked, and skipped when nothing changed."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.config import RayConfig, RunConfig, Section, decisive
from simpleseg_core.contract import Context
from simpleseg_core.data.records import read_rows, write_table
from simpleseg_core.data.shards import shard_tables
from simpleseg_core.files import write_json
from simpleseg_core.fingerprint import fingerprint
from tasks.shards.on_ray import ray_runner
from tasks.shards.parts import (
    FAILED,
    IMAGES,
    UNREADABLE,
    Counts,
    DonePart,
    ImageFailure,
    Step,
    Tally,
    finish,
    load,
    split,
)
from tasks.shards.speed import Speed

Run = Callable[[Step, Sequence[Path], pa.Schema], Iterator[DonePart]]
"""Does the parts of some shards, in any order."""

_MARK, _COUNTS, PROVENANCE = b"simpleseg.mark", b"simpleseg.counts", b"simpleseg.provenance"
"""Keys in the metadata of a finished shard's parquet: what it was made from, what was counted on the way, and the
settings and library versions of every stage that had a part in it, as JSON."""
_FAILURES = b"simpleseg.failures"
"""A further key: the images that could not be used and why, as JSON."""
_LIBRARIES = (
    "simpleseg", "torch", "transformers", "groundingdino-py", "segment-anything", "opencv-python-headless"
)  # fmt: skip
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardMap:
    """One table in, one table of the same name out, for every shard of a folder."""

    source: Path
    target: Path
    read: pa.Schema
    write: pa.Schema
    mark: str
    """What the rows depend on besides the input shard: a fingerprint."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """What readers of a shard may want to know of how this stage made it; that of earlier stages is handed on."""

    def run(self, step: Step, run: Run, speed: Speed, context: Context) -> Tally:
        """Do every shard that is not finished, delete tables of shards that are gone, write `summary.json`.

        Returns:
            The counts of all shards together, those of earlier runs included.

        Raises:
            FileNotFoundError: the source folder holds no shard.
            RuntimeError: not one of all images could be worked on, or of a shard's where none may fail as a whole.
        """
        marks = {path: fingerprint(stage=self.mark, shard=path) for path in shard_tables(self.source)}
        _remove_others(self.target, {path.name for path in marks})
        counts = {path: _finished(self.target / path.name, mark) for path, mark in marks.items()}
        todo = [path for path in marks if counts[path] is None]
        context.progress.start(len(marks), self.target.name)
        context.progress.advance(len(marks) - len(todo))
        _log.info("%s: %d of %d shards were finished before", self.target.name, len(marks) - len(todo), len(marks))
        for path, parts in _assemble(run(step, todo, self.read) if todo else (), todo):
            counts[path] = self._write(path, marks[path], parts, tolerant=context.tolerant)
            speed.add(parts)
            context.tracker.metrics(speed.metrics(), speed.images)
            context.progress.advance()
        total = Tally()
        for found in counts.values():
            total.add(found or {})
        if _useless(total):
            tables = (self.target / path.name for path in marks)
            raise _nothing_used(self.source, total, next(each for table in tables for each in shard_failures(table)))
        write_json(self.target / "summary.json", dict(sorted(total.items())))
        return total

    def _write(self, path: Path, mark: str, parts: Sequence[DonePart], *, tolerant: bool) -> Counts:
        counts, failures = Tally(), [failure for part in parts for failure in part.failures]
        for part in parts:
            counts.add(part.counts)
        for failure in failures:
            _log.warning("%s: %s", path.name, failure)
        if _useless(counts) and not tolerant:
            raise _nothing_used(path, counts, failures[0])
        earlier = json.loads((pq.read_schema(path).metadata or {}).get(PROVENANCE, b"{}"))
        metadata = {
            _MARK: b"" if _useless(counts) else mark.encode(),  # not finished: the next run tries again
            _COUNTS: json.dumps(counts, sort_keys=True).encode(),
            _FAILURES: json.dumps([(failure.image, failure.reason) for failure in failures]).encode(),
            PROVENANCE: json.dumps(earlier | dict(self.provenance), sort_keys=True).encode(),
        }
        rows = [row for part in parts for row in part.rows]
        write_table(rows, self.write.with_metadata(metadata), self.target / path.name)
        return counts


def run_shards(
    shards: ShardMap, step: Step, section: RunConfig, ray: RayConfig, context: Context
) -> tuple[Tally, Speed]:
    """Do a stage's shards where its section says, and say how fast that went."""
    speed = Speed.resume(context.work, shards.mark, section.device_hour_price)
    run = run_here if section.runner == "local" else ray_runner(ray, section.workers, section.on_gpu)
    return shards.run(step, run, speed, context), speed


def run_here(step: Step, shards: Sequence[Path], schema: pa.Schema) -> Iterator[DonePart]:
    """Shard after shard in this process."""
    step.open()
    with closing(step):
        for path in shards:
            for part in split(path, read_rows(path, schema)):
                yield finish(step, load(step, part))


def _assemble(parts: Iterable[DonePart], shards: Sequence[Path]) -> Iterator[tuple[Path, list[DonePart]]]:
    """Each shard once all its parts are there, its parts in order, whatever the order in which they come."""
    by_name = {path.name: path for path in shards}
    waiting: dict[str, list[DonePart]] = {}
    for part in parts:
        found = waiting.setdefault(part.shard, [])
        found.append(part)
        if len(found) == part.count:
            yield by_name[part.shard], sorted(waiting.pop(part.shard), key=lambda item: item.number)


def shard_failures(table: Path) -> list[ImageFailure]:
    """The images of a shard that could not be used."""
    pairs: list[tuple[str, str]] = json.loads((pq.read_schema(table).metadata or {}).get(_FAILURES, b"[]"))
    return [ImageFailure(image, reason) for image, reason in pairs]


def left_out(counts: Counts) -> dict[str, Sequence[Mapping[str, object]]]:
    """A table of the images that could not be used, by reason; none where all could."""
    rows = [{"reason": name, "images": int(counts[name])} for name in (UNREADABLE, FAILED) if counts.get(name)]
    return {"left_out": rows} if rows else {}


def provenance(stage: str, section: Section) -> dict[str, object]:
    """The settings that decide what a stage gives, and the versions of the libraries that it may depend on."""
    return {stage: {"settings": decisive(section), "versions": {name: version(name) for name in _LIBRARIES}}}


def _finished(output: Path, mark: str) -> Counts | None:
    """The counts of a shard that was finished from the same input, else None."""
    if not output.is_file():
        return None
    try:
        metadata = pq.read_schema(output).metadata or {}
    except (pa.ArrowException, OSError):
        return None
    if metadata.get(_MARK) != mark.encode():
        return None
    counts: dict[str, float] = json.loads(metadata[_COUNTS])
    return counts


def _useless(counts: Tally) -> bool:
    """Whether not one of several images could be used."""
    return counts[IMAGES] > 1 and counts[UNREADABLE] + counts[FAILED] == counts[IMAGES]


def _nothing_used(source: Path, counts: Tally, first: ImageFailure) -> RuntimeError:
    return RuntimeError(f"{source}: not one of {counts[IMAGES]:.0f} images could be used. {first}")


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*.parquet*"):
        if path.name not in names:
            path.unlink()
