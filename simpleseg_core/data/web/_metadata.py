"""Tables of image URLs in the schemas the field uses, read in a stream as one common schema."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simpleseg_core.config import WebConfig

METADATA = pa.schema(
    [
        ("row_id", pa.string()),
        ("key", pa.uint64()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("hash", pa.string()),
        ("hash_kind", pa.string()),
        ("similarity", pa.float32()),
        ("punsafe", pa.float32()),
        ("watermark", pa.float32()),
        ("language", pa.string()),
        ("license", pa.string()),
        ("source", pa.string()),
        ("annotations", pa.string()),
        ("image", pa.string()),
        ("body", pa.large_binary()),
    ]
)
"""The common schema. `key` identifies the URL; `row_id` is the table's own id where it has one; `hash` is of the image
(`hash_kind`: md5, sha1, sha256, sha512 or phash); `punsafe` and `watermark` are probabilities; `source` names file and
schema. Sources on disk bring their images along: `body` is the encoded image, `image` its name to be."""

_BATCH_ROWS = 16_384
_RANGES = {
    "similarity": (-1.0, 1.0),
    "punsafe": (0.0, 1.0),
    "watermark": (0.0, 1.0),
    "width": (0, 2**31),
    "height": (0, 2**31),
}
_HASH_KINDS = ("md5", "sha1", "sha256", "sha512", "phash")
_REQUIRED = ("url", "text")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One published schema: common name -> names its column goes by, and the kind of its content hash."""

    columns: Mapping[str, tuple[str, ...]]
    hash_kind: str | None = None
    reference: str = field(default="")
    """Where the schema is published."""


ADAPTERS: dict[str, Adapter] = {
    "laion": Adapter(
        {
            "row_id": ("sample_id", "key"),
            "url": ("url",),
            "text": ("text", "caption"),
            "width": ("width",),
            "height": ("height",),
            "similarity": ("similarity",),
            "punsafe": ("punsafe",),
            "watermark": ("pwatermark",),
            "language": ("language",),
            "license": ("license",),
        },
        reference="LAION-5B and Re-LAION-5B (laion.ai); its `hash` is of URL and text, not of the image",
    ),
    "laion_coco": Adapter(
        {
            "url": ("url",),
            "text": ("top_caption",),
            "width": ("width",),
            "height": ("height",),
            "similarity": ("similarity",),
            "punsafe": ("punsafe",),
            "watermark": ("pwatermark",),
        },
        reference="LAION-COCO (laion.ai); the caption is the best synthetic one",
    ),
    "coyo": Adapter(
        {
            "row_id": ("id",),
            "url": ("url",),
            "text": ("text",),
            "width": ("width",),
            "height": ("height",),
            "hash": ("image_phash",),
            "similarity": ("clip_similarity_vitb32",),
            "punsafe": ("nsfw_score_opennsfw2",),
            "watermark": ("watermark_score",),
        },
        hash_kind="phash",
        reference="COYO-700M (github.com/kakaobrain/coyo-dataset)",
    ),
    "datacomp": Adapter(
        {
            "row_id": ("uid",),
            "url": ("url",),
            "text": ("text",),
            "width": ("original_width",),
            "height": ("original_height",),
            "hash": ("sha256",),
            "similarity": ("clip_b32_similarity_score",),
        },
        hash_kind="sha256",
        reference="DataComp (github.com/mlfoundations/datacomp)",
    ),
    "generic": Adapter({}, hash_kind="sha256", reference="data.web.columns"),
}


def read_metadata(config: WebConfig) -> Iterator[pa.Table]:
    """The rows of a metadata table, local or remote, one file or a folder, in tables of some thousand rows.

    Columns are checked before the first row of any file is read, values as they pass by.

    Raises:
        FileNotFoundError: no parquet file at `data.web.metadata`.
        ValueError: a column that is needed is missing, a value is out of range, or a file is not parquet.
    """
    system, files = _find_files(str(config.metadata))
    for file in files:
        with _open(system, file) as table:
            _choose_columns(table.schema_arrow.names, config, file)
    for file in files:
        with _open(system, file) as table:
            columns = _choose_columns(table.schema_arrow.names, config, file)
            for batch in _batches(table, list(columns.values()), file):
                yield _to_common(batch, columns, config, file)


def url_key(url: str) -> int:
    """64-bit identity of a URL."""
    return int.from_bytes(blake2b(url.encode(), digest_size=8).digest(), "big")


def _find_files(location: str) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    system, path = fsspec.core.url_to_fs(location)
    files = [path] if system.isfile(path) else sorted(system.glob(f"{path.rstrip('/')}/**/*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"data.web.metadata: no parquet file at {location}; name a parquet file or a folder of them"
        )
    return system, files


def _open(system: fsspec.AbstractFileSystem, file: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(system.open(file, "rb"))
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{file}: not a parquet file ({error}); fetch it again or take it out of the folder"
        ) from error


def _choose_columns(names: list[str], config: WebConfig, file: str) -> dict[str, str]:
    """Common name -> column of this file, for everything that the schema knows and the file has."""
    by_lower = {name.lower(): name for name in names}
    known = {common: tuple(options) for common, options in ADAPTERS[config.schema_name].columns.items()}
    known |= {common: (column,) for common, column in config.columns.items()}
    chosen = {}
    for common, options in known.items():
        found = next((by_lower[option.lower()] for option in options if option.lower() in by_lower), None)
        if found is not None:
            chosen[common] = found
    missing = [common for common in _needed(config) if common not in chosen]
    if missing:
        tried = "; ".join(f"{common} (tried {', '.join(known.get(common, ())) or 'nothing'})" for common in missing)
        raise ValueError(
            f"{file}: no column for {tried}. The file has {', '.join(names)}. "
            f"Check data.web.schema_name ({config.schema_name}) or map it in data.web.columns"
        )
    if "hash" in chosen and "hash_kind" not in chosen and ADAPTERS[config.schema_name].hash_kind is None:
        raise ValueError(
            f"{file}: column {chosen['hash']} holds hashes of no known kind: map a column that says one of "
            f"{', '.join(_HASH_KINDS)} as `hash_kind` in data.web.columns, or do not map `hash`"
        )
    return chosen


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


def _batches(table: pq.ParquetFile, columns: list[str], file: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from table.iter_batches(batch_size=_BATCH_ROWS, columns=sorted(set(columns)))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{file}: damaged parquet file ({error}); fetch it again or take it out of the folder"
        ) from error


def _to_common(batch: pa.RecordBatch, columns: Mapping[str, str], config: WebConfig, file: str) -> pa.Table:
    adapter = ADAPTERS[config.schema_name]
    arrays = {common: _cast(batch.column(column), common, column, file) for common, column in columns.items()}
    rows = batch.num_rows
    keys = pa.array([url_key(url or "") for url in arrays["url"].to_pylist()], pa.uint64())
    arrays["key"] = keys
    arrays.setdefault("row_id", pa.array([f"{key:016x}" for key in keys.to_pylist()], pa.string()))
    if "hash" in arrays and "hash_kind" not in arrays:
        arrays["hash_kind"] = pc.if_else(pc.is_valid(arrays["hash"]), adapter.hash_kind, pa.scalar(None, pa.string()))
    arrays["source"] = pa.repeat(f"{config.schema_name}:{file.rpartition('/')[2]}", rows)
    return pa.table(
        {name: arrays.get(name, pa.nulls(rows, METADATA.field(name).type)) for name in METADATA.names}, METADATA
    )


def _cast(array: pa.Array, common: str, column: str, file: str) -> pa.Array:
    target = METADATA.field(common).type
    try:
        if pa.types.is_floating(array.type) and pa.types.is_string(target):
            array = array.cast(pa.int64())
        cast = array.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{file}: column {column} cannot be read as {target} for `{common}` ({error})") from error
    if common == "hash_kind" and (other := set(cast.unique().to_pylist()) - {None, *_HASH_KINDS}):
        raise ValueError(f"{file}: column {column} has {sorted(other)[0]!r}; `hash_kind` is one of {_HASH_KINDS}")
    low, high = _RANGES.get(common, (None, None))
    if low is not None and len(cast) > cast.null_count:
        bounds = pc.min_max(cast).as_py()
        if bounds["min"] < low or bounds["max"] > high:
            raise ValueError(
                f"{file}: column {column} goes from {bounds['min']:g} to {bounds['max']:g}, but `{common}` must "
                f"be within [{low:g}, {high:g}]; it may be the wrong column: map another in data.web.columns"
            )
    return cast
