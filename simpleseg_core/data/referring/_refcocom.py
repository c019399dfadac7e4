"""RefCOCO-M: refCOCO's validation split with new, finer masks, as the parquet files of its publisher."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.coco import field, number, outline_rle
from simpleseg_core.data.referring._sets import ParquetPicture, ReferringImage, ReferringSet, Segment, Utterance

_COLUMNS = ["image_id", "samples"]


def read_refcocom(config: ReferringConfig) -> ReferringSet:
    """`validation-*.parquet` in `root` or `root/data`: image_id, image (bytes inside), and a list `samples` of
    {id, category, sentences, bbox, mask: {counts, size}}, one for each object (moondream/refcoco-m).

    Rows without samples are left out: only those tell the size of the image.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column or a field is missing.
    """
    files = sorted(config.root.glob("validation-*.parquet")) or sorted(config.root.glob("data/validation-*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{config.root / 'validation-*.parquet'}: no such file; data.referring: `root` of refcocom must name the "
            "folder that holds them (docs/datasets.md says where to get them)"
        )
    images = tuple(image for file in files for image in _read(file))  # in their order: row groups are read whole
    return ReferringSet(config.name, {"val": images[: config.max_images]})


def _read(file: Path) -> Iterator[ReferringImage]:
    try:
        parquet = pq.ParquetFile(file)
        groups = [parquet.read_row_group(i, columns=_COLUMNS).to_pylist() for i in range(parquet.num_row_groups)]
    except pa.ArrowException as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); get it anew") from error
    for group, rows in enumerate(groups):
        for index, row in enumerate(rows):
            if field(row, "samples", file, "rows"):
                yield _image(row, ParquetPicture(file, group, index), file)


def _image(row: Mapping[str, Any], picture: ParquetPicture, file: Path) -> ReferringImage:
    identifier = number(row, "image_id", file, "rows")
    samples = row["samples"]
    (height, width), *_ = [_size(sample, file) for sample in samples]
    segments = tuple(_segment(sample, width, height, file) for sample in samples)
    utterances = tuple(
        Utterance(str(field(sample, "id", file, "samples")), str(text).strip(), (index,))
        for index, sample in enumerate(samples)
        for text in field(sample, "sentences", file, "samples")
    )
    return ReferringImage(f"{identifier:012d}", picture, width, height, segments, utterances)


def _size(sample: Mapping[str, Any], file: Path) -> tuple[int, int]:
    match size := field(field(sample, "mask", file, "samples"), "size", file, "mask"):
        case [int(height), int(width)]:
            return height, width
    identifier = field(sample, "id", file, "samples")
    raise ValueError(f"{file}: `size` of the mask of sample {identifier} is {size}: it must be [height, width]")


def _segment(sample: Mapping[str, Any], width: int, height: int, file: Path) -> Segment:
    rle = partial(outline_rle, sample["mask"], width, height, file, sample["id"])
    return Segment(str(sample.get("category") or "object").lower(), None, rle)
