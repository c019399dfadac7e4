"""Rows of a table too large to hold: an uncompressed copy on the disk, mapped into the memory of every process."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simpleseg_core.data.records import ROW_GROUP, check_columns, naming_damage
from simpleseg_core.files import replacing

_MADE_FROM = b"made_from"


class MappedRows(Sequence[dict[str, Any]]):
    """The rows of one parquet file. Processes of a machine share the pages; what is pickled is two paths."""

    def __init__(self, table: Path, schema: pa.Schema, copy: Path) -> None:
        """
        Args:
            copy: the Arrow file that is mapped; it is made where it is missing or not of this table.

        Raises:
            FileNotFoundError: no such table.
            ValueError: not parquet, or a column of the schema is missing.
        """
        self._table, self._schema, self._copy = table, schema, copy
        self._starts  # noqa: B018 (a table that cannot be read is told of now)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        at = range(len(self))[index]
        batch = int(np.searchsorted(self._starts, at, side="right")) - 1
        row: dict[str, Any] = self._file.get_batch(batch).slice(at - int(self._starts[batch]), 1).to_pylist()[0]
        return row

    def __getstate__(self) -> tuple[Path, pa.Schema, Path]:
        return self._table, self._schema, self._copy

    def __setstate__(self, state: tuple[Path, pa.Schema, Path]) -> None:
        self._table, self._schema, self._copy = state

    @cached_property
    def _file(self) -> pa.RecordBatchFileReader:
        try:
            return self._open()
        except (FileNotFoundError, pa.ArrowInvalid):
            self._write()
            return self._open()

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Row numbers at which the batches begin, and the number of all rows."""
        sizes = [self._file.get_batch(index).num_rows for index in range(self._file.num_record_batches)]
        return np.cumsum([0, *sizes])

    def _open(self) -> pa.RecordBatchFileReader:
        file = pa.ipc.open_file(pa.memory_map(str(self._copy)))
        if (file.schema.metadata or {}).get(_MADE_FROM) != self._mark():
            raise pa.ArrowInvalid(f"{self._copy} was made of another table")
        return file

    def _write(self) -> None:
        with naming_damage(self._table):
            self._copy_from(pq.ParquetFile(self._table))

    def _copy_from(self, parquet: pq.ParquetFile) -> None:
        check_columns(self._table, parquet.schema_arrow, self._schema)
        schema = self._schema.with_metadata({_MADE_FROM: self._mark()})
        with replacing(self._copy) as partial, pa.ipc.new_file(str(partial), schema) as writer:
            for batch in parquet.iter_batches(ROW_GROUP, columns=self._schema.names):
                writer.write_batch(
                    batch.select(self._schema.names).cast(self._schema).replace_schema_metadata(schema.metadata)
                )

    def _mark(self) -> bytes:
        """What tells this table from one that was written in its place."""
        about = self._table.stat()
        return f"{about.st_size} {about.st_mtime_ns}".encode()
