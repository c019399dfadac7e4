"""What every referring data set becomes: splits of images with expressions, whose outlines and pixels are read late."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from simpleseg_core.geometry import Rle


@lru_cache(maxsize=1)
def _row_group(path: Path, group: int) -> pa.ChunkedArray:
    """The images of a row group, which lie in one piece in the file."""
    return pq.ParquetFile(path).read_row_group(group, columns=["image.bytes"]).column(0)


def _header_size(source: Path | BytesIO, picture: "Picture") -> tuple[int, int]:
    try:
        with Image.open(source) as image:
            return image.size
    except Exception as error:  # Pillow raises whatever damaged headers lead it to
        raise ValueError(f"{picture}: not a readable image ({error}); get the file anew") from error


class Picture(Protocol):
    """Where the encoded bytes of an image are."""

    def exists(self) -> bool: ...

    def read(self) -> bytes: ...

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, from the header; ValueError where that is no image's."""


@dataclass(frozen=True, slots=True)
class FilePicture:
    """An image file."""

    path: Path

    def exists(self) -> bool:
        return self.path.is_file()

    def read(self) -> bytes:
        return self.path.read_bytes()

    def size(self) -> tuple[int, int]:
        return _header_size(self.path, self)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ParquetPicture:
    """An image inside a parquet file: `image.bytes` of one row of one row group."""

    path: Path
    group: int
    row: int

    def exists(self) -> bool:
        return True

    def read(self) -> bytes:
        data: bytes = _row_group(self.path, self.group)[self.row].as_py()["bytes"]
        return data

    def size(self) -> tuple[int, int]:
        return _header_size(BytesIO(self.read()), self)

    def __str__(self) -> str:
        return f"{self.path}, row {self.row} of row group {self.group}"


@dataclass(frozen=True, slots=True)
class Segment:
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
    picture: Picture
    width: int
    height: int
    """0 where the file that tells the size is missing."""
    segments: tuple[Segment, ...]
    utterances: tuple[Utterance, ...]


@dataclass(frozen=True, slots=True)
class ReferringSet:
    """A data set, divided; a key may occur in several splits where its makers divided objects, not images."""

    name: str
    splits: Mapping[str, tuple[ReferringImage, ...]]
