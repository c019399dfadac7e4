"""Tables of image URLs in the schemas the field uses, read in a stream as one common schema."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from simpleseg_core.config import WebConfig
from simpleseg_core.fetch._parquet import UnreadableError, open_table, read_batches
from simpleseg_core.fetch._places import place
from simpleseg_core.fetch._schemas import ADAPTERS, METADATA
from simpleseg_core.fetch._values import HASH_KINDS, Column
from simpleseg_core.names import did_you_mean

_TABLE_ROWS, _TABLE_BYTES = 16_384, 32 * 2**20
"""What is handed on at once: so many rows, or fewer of so many bytes."""
_REQUIRED = ("url", "text")
_OURS = frozenset({"key", "source", "image", "body"})
"""Names of the common schema that no column of a table is taken for."""
_SHOWN = 30
"""Columns that a message lists."""

_log = logging.getLogger(__name__)


def read_metadata(config: WebConfig, left_out: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a metadata table, local or remote, one file or a folder, in tables of bounded size.

    Headers and columns of all files are checked before the first row of any is read. A value that cannot be used is
    missing in its row. A damaged file is left out, from the damage on: as rows are known by their URLs, the next run
    takes what the mended file has more.

    Args:
        config: where the table is, and what its columns are called.
        left_out: gets the name of each damaged file and what is wrong with it, as the log does.

    Raises:
        FileNotFoundError: no parquet file at `data.web.metadata`.
        ValueError: a column that is needed is missing, there twice, or without a single value of its kind; or not one
            file can be read. Messages name file and column.
    """
    system, files = _find_files(str(config.metadata))
    reasons = [] if left_out is None else left_out
    chosen = _choose_all(system, files, config, reasons)
    rows = 0
    for file, columns in chosen.items():
        for table in _bounded(_read(system, file, columns, config, reasons)):
            rows += table.num_rows
            yield table
    if reasons and not rows:
        raise ValueError(reasons[0])
    for reason in reasons:
        _log.warning("left out: %s", reason)


def url_key(url: str) -> int:
    """64-bit identity of a URL."""
    return int.from_bytes(blake2b(url.encode(), digest_size=8).digest(), "big")


def _find_files(location: str) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    system, path = place(location, "data.web.metadata")
    try:
        inside = [path] if system.isfile(path) else sorted(system.find(path))
    except OSError as error:
        raise ValueError(f"data.web.metadata: {location} cannot be reached: {error}") from None
    files = [file for file in inside if file == path or file.lower().endswith(".parquet")]
    if not files:
        raise FileNotFoundError(
            f"data.web.metadata: no parquet file at {location}; name a parquet file or a folder of them"
        )
    return system, files


def _choose_all(
    system: fsspec.AbstractFileSystem, files: Sequence[str], config: WebConfig, reasons: list[str]
) -> dict[str, dict[str, str]]:
    """File -> its columns by common name, for all files whose header can be read."""
    chosen, faults = {}, []
    for file in files:
        try:
            with open_table(system, file) as table:
                chosen[file] = _choose_columns(table.schema_arrow, config, file)
        except UnreadableError as error:
            reasons.append(str(error))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        more = f" ({len(faults) - 1} more files have such a fault)" if len(faults) > 1 else ""
        raise ValueError(faults[0] + more)
    return chosen


def _choose_columns(schema: pa.Schema, config: WebConfig, file: str) -> dict[str, str]:
    """Common name -> column of this file, for everything that the schema knows and the file has."""
    known = {common: tuple(options) for common, options in ADAPTERS[config.schema_name].columns.items()}
    known |= {common: (column,) for common, column in config.columns.items()}
    if unknown := sorted(set(known) - set(METADATA.names) | set(known) & _OURS):
        names = [name for name in METADATA.names if name not in _OURS]
        raise ValueError(
            f"data.web.columns: {unknown[0]} is none of the names that can be mapped"
            f"{did_you_mean(unknown[0], names)}: {', '.join(names)}"
        )
    found = {
        common: _find_column(schema.names, options, common, file, exact=common in config.columns)
        for common, options in known.items()
    }
    chosen = {common: column for common, column in found.items() if column is not None}
    if missing := [common for common in _needed(config) if common not in chosen]:
        tried = "; ".join(f"{common} (tried {', '.join(known.get(common, ())) or 'nothing'})" for common in missing)
        more = ", ..." if len(schema.names) > _SHOWN else ""
        raise ValueError(
            f"{file}: no column for {tried}. The file has {', '.join(schema.names[:_SHOWN])}{more}. "
            f"Check data.web.schema_name ({config.schema_name}) or map it in data.web.columns"
        )
    if "hash" in chosen and "hash_kind" not in chosen and ADAPTERS[config.schema_name].hash_kind is None:
        raise ValueError(
            f"{file}: column {chosen['hash']} holds hashes of no known kind: map a column that says one of "
            f"{', '.join(HASH_KINDS)} as `hash_kind` in data.web.columns, or do not map `hash`"
        )
    for common, column in chosen.items():
        Column(common, column, schema.field(column).type, file)
    return chosen


def _find_column(names: Sequence[str], options: Iterable[str], common: str, file: str, *, exact: bool) -> str | None:
    """The column that goes by the first of some names, in any case of letters; `exact`: in that case if there is one.

    Raises:
        ValueError: there are several.
    """
    for option in options:
        found = [name for name in names if name.lower() == option.lower()]
        if exact and option in found:
            found = [name for name in found if name == option]
        if len(found) > 1:
            raise ValueError(
                f"{file}: there are {len(found)} columns for `{common}`: {', '.join(found[:_SHOWN])}; "
                "write the file anew with one of them, or map another in data.web.columns"
            )
        if found:
            return found[0]
    return None


def _needed(config: WebConfig) -> list[str]:
    filters = config.filters
    wanted = {
        "width": filters.min_side or filters.max_aspect,
        "height": filters.min_side or filters.max_aspect,
        "similarity": filters.min_similarity is not None,
        "punsafe": isinstance(filters.max_punsafe, float),
        "watermark": filters.max_watermark is not None,
        "language": filters.languages,
        "license": filters.licenses,
    }
    return [*_REQUIRED, *config.columns, *(name for name, needed in wanted.items() if needed)]


def _read(
    system: fsspec.AbstractFileSystem, file: str, chosen: Mapping[str, str], config: WebConfig, reasons: list[str]
) -> Iterator[pa.Table]:
    """The rows of a file as far as it can be read, a few at a time."""
    try:
        with open_table(system, file) as table:
            kinds = table.schema_arrow
            columns = {common: Column(common, name, kinds.field(name).type, file) for common, name in chosen.items()}
            for batch in read_batches(table, sorted(set(chosen.values())), file):
                arrays = {common: column.read(batch.column(chosen[common])) for common, column in columns.items()}
                yield _to_common(arrays, batch.num_rows, config, file)
    except UnreadableError as error:
        reasons.append(str(error))
        return
    for column in columns.values():
        column.finish()


def _to_common(arrays: dict[str, pa.Array], rows: int, config: WebConfig, file: str) -> pa.Table:
    adapter = ADAPTERS[config.schema_name]
    keys = pa.array([url_key(url or "") for url in arrays["url"].to_pylist()], pa.uint64())
    arrays["key"] = keys
    arrays.setdefault("row_id", pa.array([f"{key:016x}" for key in keys.to_pylist()], pa.string()))
    if "hash" in arrays and "hash_kind" not in arrays:
        arrays["hash_kind"] = pc.if_else(pc.is_valid(arrays["hash"]), adapter.hash_kind, pa.scalar(None, pa.string()))
    arrays["source"] = pa.repeat(f"{config.schema_name}:{_file_name(file)}", rows)
    return pa.table(
        {name: arrays.get(name, pa.nulls(rows, METADATA.field(name).type)) for name in METADATA.names}, METADATA
    )


def _file_name(file: str) -> str:
    """The last part of a path; of a URL without its query, which may sign it."""
    path = urlsplit(file).path if "://" in file else file
    return path.rpartition("/")[2]


def _bounded(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables put together, up to the size of what is handed on at once."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= _TABLE_ROWS or size >= _TABLE_BYTES:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
