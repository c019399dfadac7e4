"""Images of the web, by a table of URLs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from simpleseg_core.config import Config
from simpleseg_core.fetch import read_metadata
from simpleseg_core.sources._protocol import Opened, Source


@contextmanager
def _open(config: Config, work: Path) -> Iterator[Opened]:
    web = config.data.web
    identity = web.model_dump(exclude={"filters", "max_images"})
    left_out: list[str] = []
    tables = _first(read_metadata(web, left_out), web.max_images)
    yield Opened(identity, tables, config.ingest, web.filters, left_out=left_out)


def _first(tables: Iterable[pa.Table], rows: int | None) -> Iterator[pa.Table]:
    """The first rows of a stream of tables, all of them for None."""
    for table in tables:
        if rows is None:
            yield table
        elif rows > 0:
            yield table.slice(0, rows)
            rows -= table.num_rows


def _check(config: Config) -> None:
    next(iter(read_metadata(config.data.web)), None)  # all files are looked at before the first row


SOURCE = Source(_open, check=_check)
