"""Parquet as the Hugging Face `datasets` library reads it: images inside, features declared, a card beside it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from simpleseg_core.contract import NullProgress, Progress
from simpleseg_core.export._annotations import AnnotatedImage, Annotations, ImageSource, image_suffix
from simpleseg_core.export.formats import Export
from simpleseg_core.files import replacing, write_text

_IMAGE_COLUMNS = ("image", "shard", "width", "height", "url", "caption")
"""Columns of the annotation tables that belong to the image, not to an instance."""
_BATCH = 32
"""Images in memory at once, and in one row group."""
_NAMES = {"int32": "int32", "int64": "int64", "float": "float32", "double": "float64", "string": "string"}


def export_hugging_face(
    annotations: Annotations, folder: Path, images: ImageSource, progress: Progress | None = None
) -> dict[str, int]:
    """Write `data/train-NNNNN-of-NNNNN.parquet`, one for each annotation table, and `README.md`.

    A row is an image (`image`, decoded by `datasets`) with its `objects`: the columns of the record schema, boxes,
    points and polygons normalised, `rle_counts` the COCO RLE of a mask of the image's size.

    Returns:
        How many images and objects were written.
    """
    progress = progress or NullProgress()
    progress.start(annotations.count(), "instances")
    schema = _schema(annotations.schema)
    total, licenses = Counter[str](), Counter[str]()
    for number, table in enumerate(annotations.tables):
        name = f"data/train-{number:05d}-of-{len(annotations.tables):05d}.parquet"
        with replacing(folder / name) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for batch in _batches(annotations.read(table)):
                rows = [_row(image, images.read_bytes(image.shard, image.key), schema) for image in batch]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                objects = sum(len(image.instances) for image in batch)
                total.update(images=len(batch), objects=objects)
                licenses.update(image.license or "not stated" for image in batch)
                progress.advance(objects)
    write_text(folder / "README.md", _card(total, licenses))
    return dict(total)


def _batches(images: list[AnnotatedImage]) -> Iterator[list[AnnotatedImage]]:
    stream = iter(images)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _row(image: AnnotatedImage, data: bytes, schema: pa.Schema) -> dict[str, Any]:
    columns = [field.name for field in schema.field("objects").type.value_type]
    return {
        "image": {"bytes": data, "path": f"{image.key}{image_suffix(data)}"},
        "image_id": image.key,
        "width": image.width,
        "height": image.height,
        "caption": image.caption,
        "url": image.url,
        "license": image.license,
        "source": image.source,
        "objects": [{name: row[name] for name in columns} for row in image.instances],
    }


def _schema(annotation: pa.Schema) -> pa.Schema:
    """Columns of the export, with the features that `datasets` looks for in the metadata."""
    objects = pa.struct([(field.name, _listed(field.type)) for field in annotation if field.name not in _IMAGE_COLUMNS])
    text = {name: pa.string() for name in ("caption", "url", "license", "source")}
    columns = {
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "image_id": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        **text,
        "objects": pa.list_(objects),
    }
    features = {name: _feature(kind) for name, kind in columns.items()} | {"image": {"_type": "Image"}}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _listed(kind: pa.DataType) -> pa.DataType:
    """The type with lists of any length: `datasets` casts no others."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_listed(kind.value_type))
    return kind


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    return {"dtype": _NAMES.get(str(kind), str(kind)), "_type": "Value"}


def _card(total: Mapping[str, int], licenses: Mapping[str, int]) -> str:
    head = {
        "task_categories": ["image-segmentation", "object-detection"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    }
    rights = "\n".join(f"| {name} | {count} |" for name, count in sorted(licenses.items()))
    return f"""---
{yaml.safe_dump(head, sort_keys=False)}---

# Instances annotated by simpleseg

{total["images"]} images with {total["objects"]} instances: phrase, box, point, mask (COCO RLE) and polygons of each,
with the scores and the engines behind them.

    from datasets import load_dataset
    dataset = load_dataset("FOLDER", split="train")

Boxes (xyxy), points and polygons are normalised to [0, 1] on pixel edges, x to the right, y down. A mask is
`pycocotools.mask.decode({{"size": [height, width], "counts": rle_counts}})`.

Labels were made by machines. The rights in each image are its owner's; what the metadata states:

| licence | images |
|---|---|
{rights}
"""


def write(export: Export, folder: Path) -> dict[str, int]:
    """`data/train-NNNNN-of-NNNNN.parquet` and `README.md`."""
    return export_hugging_face(export.annotations, folder, export.images, export.progress)
