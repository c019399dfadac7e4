"""The tables that stages hand to one another: a pyarrow schema for each kind of row, read and written.

Every table names its image by `image` (the key inside the tar shard) and `shard` (the tar, relative to the data root).
Boxes and points are normalised to [0, 1] on pixel edges (x right, y down); boxes are xyxy; masks are COCO RLE
(`rle_counts`, with `height` and `width` in pixels).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.files import replacing

ROW_GROUP = 1_000
"""Rows held in memory while a table is written."""

_IMAGE = [("image", pa.string()), ("shard", pa.string()), ("width", pa.int32()), ("height", pa.int32())]
_BOX = [("box", pa.list_(pa.float64(), 4)), ("score", pa.float32())]
_POLYGONS = pa.list_(pa.list_(pa.list_(pa.float64(), 2)))

INGEST = pa.schema(
    [
        ("row_id", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("status", pa.string()),
        ("detail", pa.string()),
        *_IMAGE,
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),
        ("phash", pa.string()),
        ("final_url", pa.string()),
        ("license", pa.string()),
        ("source", pa.string()),
        ("hash", pa.string()),
        ("hash_kind", pa.string()),
        ("bytes", pa.int64()),
        ("annotations", pa.string()),
    ]
)
"""One row for each row of metadata; `status` is `ok` or the reason of the failure; width and height are those of the
stored image, the original ones those of the image as served, which `sha256` and `bytes` describe too;
`hash` (md5, sha256 or phash) is what the metadata promised of the image; `annotations` is JSON that came
with the data (for COCO: a list of {"phrase", "box", "rle_counts", "crowd"}), empty otherwise. Nothing here depends on
the moment: the same images give the same tables."""

FETCHES = pa.schema(
    [
        ("row_id", pa.string()),
        ("url", pa.string()),
        ("status", pa.string()),
        ("seconds", pa.float64()),
        ("fetched_at", pa.string()),
    ]
)
"""When rows of INGEST were fetched (UTC) and how long that took: kept apart, where it changes no version."""

BOXES = pa.schema(
    [
        ("instance", pa.string()),
        *_IMAGE,
        ("caption", pa.string()),
        ("phrase", pa.string()),
        ("span_start", pa.int32()),
        ("span_end", pa.int32()),
        *_BOX,
        ("detector", pa.string()),
        ("url", pa.string()),
        ("sha256", pa.string()),
    ]
)
"""One row for each detected instance; the span counts characters of the caption."""

MASKS = pa.schema(
    [
        *BOXES,
        ("rle_counts", pa.string()),
        ("predicted_iou", pa.float32()),
        ("stability", pa.float32()),
        ("similarity", pa.float32()),
        ("segmenter", pa.string()),
    ]
)
"""`similarity` of the phrase and the box's crop, by CLIP; null where no CLIP was asked."""

POLYGONS = pa.schema(
    [
        *MASKS,
        ("point", pa.list_(pa.float64(), 2)),
        ("polygons", _POLYGONS),
        ("points", pa.int32()),
        ("roundtrip_iou", pa.float32()),
    ]
)

DESCRIPTIONS = pa.schema(
    [
        *POLYGONS,
        ("description", pa.string()),
        ("description_source", pa.string()),
        ("consistency", pa.float32()),
    ]
)
"""`consistency` is the IoU of the box with the one that the detector found by the model's text, whether that was used
or not; null where no text was checked."""

_TURN = pa.struct([("task", pa.string()), ("question", pa.string()), ("answer", pa.string())])

_PIXELS = ("pixels", pa.string())
"""sha256 of the image's bytes in its shard, so that a table changes when they do; null where the shard is versioned
with the table."""

CONVERSATIONS = pa.schema(
    [("sample", pa.string()), *_IMAGE, _PIXELS, ("source", pa.string()), ("turns", pa.list_(_TURN))]
)
"""A training conversation: one image, then questions and answers about it."""

PROMPTS = pa.schema(
    [
        ("sample", pa.string()),
        *_IMAGE,
        _PIXELS,
        ("benchmark", pa.string()),
        ("expression", pa.string()),
        ("kind", pa.string()),
        ("question", pa.string()),
        ("task", pa.string()),
        ("targets", pa.int32()),
        ("rle_counts", pa.string()),
        ("box", pa.list_(pa.float64())),  # not of fixed size: parquet cannot read such a list back where one is null
    ]
)
"""A query with its exact mask: an RL prompt or a benchmark item. For the answer `[]`, `targets` is 0, `box` null."""

PREDICTIONS = pa.schema(
    [
        *PROMPTS,
        ("model", pa.string()),
        ("answer", pa.string()),
        ("iou", pa.float64()),
        ("intersection", pa.int64()),
        ("union", pa.int64()),
        ("box_iou", pa.float64()),
        ("boundary_iou", pa.float64()),
        ("boundary_f", pa.float64()),
        ("chamfer", pa.float64()),
        ("hausdorff", pa.float64()),
        ("valid", pa.bool_()),
        ("error", pa.string()),
        ("predicted_empty", pa.bool_()),
        ("truth_empty", pa.bool_()),
        ("truth_area", pa.int64()),
        ("parts", pa.int32()),
        ("points", pa.int32()),
        ("tokens", pa.int32()),
    ]
)
"""An answer to a prompt with its `SampleScore`, field by field."""


def write_table(rows: Iterable[dict[str, Any]], schema: pa.Schema, path: Path) -> None:
    """Write rows to a parquet file at once or not at all, a row group of `ROW_GROUP` at a time as they come."""
    with replacing(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        stream = iter(rows)
        part = list(islice(stream, ROW_GROUP))
        while part:
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            part = list(islice(stream, ROW_GROUP))


def read_rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Rows of one parquet file, or of all `*.parquet` of a folder in name order.

    Raises:
        FileNotFoundError: nothing there; the message names the stage order.
        ValueError: a column of the schema is missing, or a file is damaged.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{path}: no parquet file here; run the stage that writes it first (`simpleseg status`)"
        )
    return [row for file in files for row in _read_file(file, schema)]


def check_columns(file: Path, found: pa.Schema, schema: pa.Schema) -> None:
    """See that a file has the columns of a schema.

    Raises:
        ValueError: one is missing.
    """
    missing = [name for name in schema.names if name not in found.names]
    if missing:
        raise ValueError(
            f"{file}: columns {missing} are missing; it was written by another version, run its stage again"
        )


@contextmanager
def naming_damage(file: Path) -> Iterator[None]:
    """Where a table that is read is damaged, a ValueError that names it: Arrow raises this or that, often nameless."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{file}: not a readable parquet file ({reason}); delete it and run its stage again"
        ) from error


def _read_file(file: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    with naming_damage(file):
        table = pq.read_table(file)
    check_columns(file, table.schema, schema)
    rows: list[dict[str, Any]] = table.select(schema.names).to_pylist()
    return rows
