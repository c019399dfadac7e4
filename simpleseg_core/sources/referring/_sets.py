"""What every referring data set becomes: splits of images with expressions, whose outlines and pixels are read late."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.data.pixels import read_size
from simpleseg_core.geometry import Rle


@lru_cache(maxsize=1)
def _row_group(path: Path, group: int) -> pa.ChunkedArray:
    """The images of a row group, which lie in one piece in the file."""
    return pq.ParquetFile(path).read_row_group(group, columns=["image.bytes"]).column(0)


class StoredImage(Protocol):
    """Where the encoded bytes of an image are."""

    def exists(self) -> bool: ...

    def read(self) -> bytes: ...

    def size(self) -> tuple[int, int]:
        """Width and height in pixels when upright, from the header; ValueError where that is no image's."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file."""

    path: Path

    def exists(self) -> bool:
        return self.path.is_file()

    def read(self) -> bytes:
        return self.path.read_bytes()

    def size(self) -> tuple[int, int]:
        return read_size(self.path)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ParquetImage:
    """An image inside a parquet file: `image.bytes` of one row of one row group."""

    path: Path
    group: int
    row: int

    def exists(self) -> bool:
        return True

    def read(self) -> bytes:
        """The encoded bytes; ValueError where the row has none."""
        try:
            data = _row_group(self.path, self.group)[self.row].as_py()["bytes"]
        except (pa.ArrowException, OSError, IndexError, KeyError, TypeError):  # damage, no such column, or null
            data = None
        if not isinstance(data, bytes):
            raise ValueError(f"{self}: no image in it (`image.bytes`); get the file anew")
        return data

    def size(self) -> tuple[int, int]:
        return read_size(self.read(), self)

    def __str__(self) -> str:
        return f"{self.path}, row {self.row} of row group {self.group}"


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """An annotated object; its outline is decoded when asked for."""

    name: str
    """Category or label."""
    box: tuple[float, float, float, float] | None
    """xyxy in pixels, as annotated; None where only the outline is given."""
    rle: Callable[[], Rle | None]
    """The mask in the size of the image, None where it is empty; ValueError where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One expression about an image, and the segments of the image that it means; none is a valid answer."""

    ref: str
    """Id of the reference it belongs to: several expressions of one object share it."""
    text: str
    segments: tuple[int, ...]
    kind: str = "referring"
    """`referring`, `multiple`, `none`; for ReasonSeg `sentence` or `phrase`."""


@dataclass(frozen=True, slots=True)
class ReferringImage:
    """An image of one split, with what is asked about it there."""

    key: str
    """Of shards and tables; COCO's images have the same key in every set."""
    picture: StoredImage
    width: int
    height: int
    """0 where the file that tells the size is missing."""
    segments: tuple[AnnotatedObject, ...]
    utterances: tuple[Utterance, ...]


@dataclass(frozen=True, slots=True)
class ReferringSet:
    """A data set, divided; a key may occur in several splits where its makers divided objects, not images."""

    name: str
    splits: Mapping[str, tuple[ReferringImage, ...]]
