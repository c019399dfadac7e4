"""Images in tar shards: an atomic writer and a random-access reader."""

import tarfile
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from simpleseg_core.data.pixels import read_rgb
from simpleseg_core.files import replacing


def write_shard(images: Iterable[tuple[str, bytes]], path: Path) -> None:
    """Write (member name, encoded bytes) pairs to a tar, whole or not at all, the same bytes for the same input."""
    with replacing(path) as partial, tarfile.open(partial, "w") as tar:
        for name, data in images:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))


def encode_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """JPEG bytes of a uint8 (H, W, 3) RGB image."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def shard_tables(folder: Path) -> list[Path]:
    """The tables of a folder that belong to shards (`00000.parquet`), in order.

    Raises:
        FileNotFoundError: there is none.
    """
    tables = sorted(folder.glob("[0-9]*.parquet"))
    if not tables:
        raise FileNotFoundError(f"{folder}: no shard here; run the stage that writes it first (`simpleseg status`)")
    return tables


def _members(path: Path) -> dict[str, tuple[int, int]]:
    return _index(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _index(path: Path, version: int) -> dict[str, tuple[int, int]]:
    """Member name without its suffix -> (offset, size) in the tar; another version of the file is read anew."""
    with tarfile.open(path) as tar:
        return {member.name.rsplit(".", 1)[0]: (member.offset_data, member.size) for member in tar if member.isfile()}


class ImageStore:
    """Images of a folder of tar shards, by shard name and key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keys(self, shard: str) -> list[str]:
        """Keys of a shard, in the order they were written."""
        return list(_members(self.folder / shard))

    def read_bytes(self, shard: str, key: str) -> bytes:
        """Encoded bytes of one image.

        Raises:
            KeyError: the shard has no such image.
        """
        path = self.folder / shard
        if key not in _members(path):
            raise KeyError(
                f"{path}: no image {key}; the table and the shard come from different runs, run the stage again"
            )
        offset, size = _members(path)[key]
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def digest(self, shard: str, key: str) -> str:
        """sha256 of the encoded bytes of one image."""
        return sha256(self.read_bytes(shard, key)).hexdigest()

    def read(self, shard: str, key: str) -> Image.Image:
        """One image, upright, in RGB."""
        return read_rgb(self.read_bytes(shard, key), f"image {key} of {shard}")
