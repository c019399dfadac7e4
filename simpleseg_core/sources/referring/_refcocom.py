"""RefCOCO-M: refCOCO's validation split with new, finer masks, as the parquet files of its publisher."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, TypeAdapter

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.foreign import Id, Number, Side, Text, check_unique, checked
from simpleseg_core.sources._outlines import outline_rle
from simpleseg_core.sources.referring._sets import (
    AnnotatedObject,
    ParquetImage,
    ReferringImage,
    ReferringSet,
    Utterance,
)

_COLUMNS = ["image_id", "samples"]


@dataclass(frozen=True, slots=True)
class _Mask:
    counts: Text
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    """Height and width."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """An object with its expressions."""

    id: Id
    sentences: list[Text]
    mask: _Mask
    category: Text | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    image_id: Number
    samples: list[_Sample] | None


_ROWS = TypeAdapter(list[_Row])


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
    check_unique((image.key for image in images), config.root, "rows", "image_id")
    return ReferringSet(config.name, {"val": images[: config.max_images]})


def _read(file: Path) -> Iterator[ReferringImage]:
    try:
        parquet = pq.ParquetFile(file)
        groups = [parquet.read_row_group(i, columns=_COLUMNS).to_pylist() for i in range(parquet.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); get it anew") from error
    for group, rows in enumerate(groups):
        found = checked(_ROWS, rows, file, f"row group {group}")
        for index, row in enumerate(found):
            if row.samples:
                yield _image(row.image_id, row.samples, ParquetImage(file, group, index), file)


def _image(identifier: int, samples: Sequence[_Sample], picture: ParquetImage, file: Path) -> ReferringImage:
    check_unique((sample.id for sample in samples), file, f"samples of image {identifier}")
    height, width = samples[0].mask.size
    segments = tuple(_segment(sample, width, height, file) for sample in samples)
    utterances = tuple(
        Utterance(str(sample.id), text.strip(), (index,))
        for index, sample in enumerate(samples)
        for text in sample.sentences
    )
    return ReferringImage(f"{identifier:012d}", picture, width, height, segments, utterances)


def _segment(sample: _Sample, width: int, height: int, file: Path) -> AnnotatedObject:
    mask = {"counts": sample.mask.counts, "size": sample.mask.size}
    rle = partial(outline_rle, mask, width, height, file, sample.id)
    return AnnotatedObject((sample.category or "object").lower(), None, rle)
