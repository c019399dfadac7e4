"""What is asked of the downloader: where from, where to, within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from simpleseg_core.config import FilterConfig, IngestConfig
from simpleseg_core.fetch._sink import Sink
from simpleseg_core.fetch._status import may_pass
from simpleseg_core.fingerprint import fingerprint


@dataclass(frozen=True, slots=True)
class FetchJob:
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
        return fingerprint(source=self.source, filters=self.filters, limits=self.limits)

    @property
    def sink(self) -> Sink | None:
        """Where finished shards go as well."""
        return Sink(self.limits.sink) if self.limits.sink is not None else None


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to do: a plan, or a finished shard whose failures are tried again."""

    path: Path
    retry: bool

    @property
    def rows(self) -> int:
        """How many rows there are to do."""
        if not self.retry:
            return int(pq.read_metadata(self.path).num_rows)
        return sum(may_pass(status) for status in pq.read_table(self.path, columns=["status"])["status"].to_pylist())
