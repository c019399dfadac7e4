"""Parquet files of strangers, read in bounded memory: one that is damaged, or unpacks to gigabytes, is named."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import fsspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_MIB = 1024
"""Address space that reading some rows may take."""

_ROWS = 1024
"""Rows decoded at once: dictionary encoding lets a small file hold long texts in every row, and no header says so."""
_BUFFER = 2**20
"""Bytes of a compressed column chunk that are read at once."""
_US = psutil.Process()


class UnreadableError(ValueError):
    """A file that cannot be read, or not to its end; the message names it, the column to blame, and why."""


@contextmanager
def open_table(system: fsspec.AbstractFileSystem, file: str) -> Iterator[pq.ParquetFile]:
    """An open parquet file.

    Raises:
        UnreadableError: it is none, its header is damaged, or there is no way to read it.
    """
    try:
        with _bounded_memory():
            source = system.open(file, "rb")
            table = pq.ParquetFile(source, buffer_size=_BUFFER)
    except Exception as error:  # Arrow raises whatever a damaged header leads it to
        raise UnreadableError(
            f"{file}: not a readable parquet file ({_first_line(error)}); fetch it again or take it out of the folder"
        ) from error
    with source, table:
        yield table


def read_batches(table: pq.ParquetFile, columns: Sequence[str], file: str) -> Iterator[pa.RecordBatch]:
    """Some columns of a file, a few rows at a time.

    Raises:
        UnreadableError: a column is damaged, a few of its rows do not fit into `MEMORY_MIB`, or rows are missing; those
            that came are good.
    """
    stream = table.iter_batches(batch_size=_ROWS, columns=list(columns), use_threads=False)
    rows = 0
    while True:
        try:
            with _bounded_memory():
                batch = next(stream, None)
        except Exception as error:  # as above
            raise UnreadableError(_describe(error, _culprit(table, columns), file)) from error
        if batch is None:
            break
        rows += batch.num_rows
        yield batch
    if rows != table.metadata.num_rows:
        raise UnreadableError(f"{file}: {rows} rows, but its header says {table.metadata.num_rows}; fetch it again")


def _culprit(table: pq.ParquetFile, columns: Sequence[str]) -> str:
    """The first column that cannot be read for itself."""
    for column in columns:
        try:
            with _bounded_memory():
                for _ in table.iter_batches(batch_size=_ROWS, columns=[column], use_threads=False):
                    pass
        except Exception:
            return column
    return " or ".join(columns)


def _describe(error: Exception, column: str, file: str) -> str:
    if isinstance(error, MemoryError):
        return (
            f"{file}: column {column} unpacks to more than {MEMORY_MIB} MiB within {_ROWS} rows; "
            "take the file out of the folder"
        )
    return (
        f"{file}: column {column} is damaged ({_first_line(error)}); fetch the file again or take it out of the folder"
    )


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line:.200}"


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Let allocations fail that would take this process more than `MEMORY_MIB` above what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = _US.memory_info().vms + MEMORY_MIB * 2**20
    limits = [limit for limit in (ceiling, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
