"""What every export reads: the annotation tables, a shard at a time, an image with its instances together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from simpleseg_core.data.outlines import row_polygons, row_rle
from simpleseg_core.data.records import DESCRIPTIONS, POLYGONS, naming_damage, read_rows
from simpleseg_core.files import replacing
from simpleseg_core.geometry import GRID, mask_to_polygons
from simpleseg_core.names import did_you_mean

Row = dict[str, Any]
Place = Callable[["AnnotatedImage"], str]
"""Puts the file of an image where an export wants it, and says its name there."""

_SOURCES = {"descriptions": DESCRIPTIONS, "polygons": POLYGONS}
_ORIGIN = ["image", "shard", "width", "height", "url", "text", "license", "source", "final_url"]
_DIGITS = 3
"""Of a pixel: vertices lie on thousandths of the image's sides or on pixel edges, so nothing is lost."""
_ENGINES = ("detector", "segmenter", "description_source")
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


class ImageSource(Protocol):
    """Where the bytes of images are: `data.shards.ImageStore` for tar shards."""

    def read_bytes(self, shard: str, key: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and the rows of its instances, in the order of the table."""

    key: str
    shard: str
    width: int
    """Pixels."""
    height: int
    url: str
    """Where it came from on the web; empty where that is not known, as for images of one's own."""
    license: str
    source: str
    """The collection it belongs to; behind a colon the name of the metadata file that named it, if one did."""
    caption: str
    instances: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """The tables of one annotation stage; only one shard of them is in memory at a time."""

    data: Path
    """The folder that shards are named from."""
    tables: tuple[Path, ...]
    schema: pa.Schema
    all_images: bool = False
    """Also the images in which nothing was kept."""

    @classmethod
    def open(cls, data: Path, source: str | None = None, *, all_images: bool = False) -> Self:
        """The tables under a data folder: of `descriptions`, or of `polygons` where nothing is described.

        Raises:
            ValueError: no such source.
            FileNotFoundError: nothing is annotated there.
        """
        if source is not None and source not in _SOURCES:
            meant = did_you_mean(source, _SOURCES)
            raise ValueError(f"no annotations called {source!r}{meant}: choose one of {', '.join(_SOURCES)}")
        for name in _SOURCES if source is None else [source]:
            if tables := tuple(sorted((data / name).glob("[0-9]*.parquet"))):
                return cls(data, tables, _SOURCES[name], all_images)
        raise FileNotFoundError(
            f"{data / (source or 'descriptions')}: nothing is annotated here; "
            f"`simpleseg run --until {'contour' if source == 'polygons' else 'describe'}` does it"
        )

    def count(self) -> int:
        """Instances in all tables."""
        return sum(pq.read_metadata(table).num_rows for table in self.tables)

    def phrases(self) -> list[str]:
        """Every phrase once, sorted."""
        found: set[str] = set()
        for table in self.tables:
            found.update(pq.read_table(table, columns=["phrase"])["phrase"].unique().to_pylist())
        return sorted(found)

    def shards(self) -> Iterator[tuple[str, list[AnnotatedImage]]]:
        """The name of each table, without its suffix, and its images."""
        for table in self.tables:
            yield table.stem, self.read(table)

    def images(self) -> Iterator[AnnotatedImage]:
        """The images of all tables."""
        for _, images in self.shards():
            yield from images

    def read(self, table: Path) -> list[AnnotatedImage]:
        """The images of one table.

        Raises:
            ValueError: the name of an image would lead out of the folder it is written to.
        """
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in read_rows(table, self.schema):
            groups.setdefault((row["shard"], row["image"]), []).append(row)
        # A table without rows does not name its shard, but it has its number.
        shards = dict.fromkeys([*(shard for shard, _ in groups), f"images/{table.stem}.tar"])
        origins = {key: row for shard in shards for key, row in self._origins(shard).items()}
        if self.all_images:
            groups = {key: groups.get(key, []) for key in origins} | groups
        for _, key in groups:
            if Path(key).is_absolute() or ".." in Path(key).parts:
                raise ValueError(f"{table}: an image is called {key!r}, which is no name of a file; ingest it again")
        return [_image(origins.get(key, {}), rows) for key, rows in groups.items()]

    def _origins(self, shard: str) -> dict[tuple[str, str], Row]:
        """(shard, image) -> what the table that ingest left beside the shard says of it."""
        table = self.data / Path(shard).with_suffix(".parquet")
        if not shard or not table.is_file():
            return {}
        with naming_damage(table):
            rows: list[Row] = pq.read_table(table, columns=_ORIGIN).to_pylist()
        return {(row["shard"], row["image"]): row for row in rows if row["image"]}


def _image(origin: Mapping[str, Any], rows: list[Row]) -> AnnotatedImage:
    known = rows[0] | {"text": rows[0]["caption"]} if rows else {**origin, "text": unescape(origin["text"] or "")}
    return AnnotatedImage(
        key=known["image"],
        shard=known["shard"],
        width=known["width"],
        height=known["height"],
        url=_web_address(origin.get("final_url") or known["url"] or ""),
        license=origin.get("license") or "",
        source=_without_folders(origin.get("source") or ""),
        caption=known["text"] or "",
        instances=tuple(row | {name: _engine(row[name]) for name in _ENGINES if row.get(name)} for row in rows),
    )


def _web_address(url: str) -> str:
    """The URL, or nothing where it leads to a file of this machine: exports are given away."""
    return url if urlsplit(url).scheme in ("http", "https") else ""


def _without_folders(source: str) -> str:
    collection, colon, file = source.partition(":")
    return f"{collection}{colon}{file.rstrip('/').rpartition('/')[2]}"


def _engine(name: str) -> str:
    """An engine and its model; of a model in a folder of this machine, its name."""
    engine, _, model = name.partition("/")
    return f"{engine}/{Path(model).name}" if model.startswith("/") else name


def pixel_outlines(row: Row) -> list[NDArray[np.float64]]:
    """The outlines of an instance, each (N, 2) in pixels on pixel edges.

    They are those that models learn. Where their grid is coarser than the pixels of the image, the mask is outlined on
    the pixels' own grid instead: models can't say a line one pixel wide in a photograph, other tools can.
    """
    height, width = row["height"], row["width"]
    coarse = max(height, width) > GRID
    polygons = mask_to_polygons(row_rle(row), grid=max(height, width)) if coarse else row_polygons(row)
    return [(polygon * (width, height)).round(_DIGITS) for polygon in polygons]


def image_suffix(data: bytes) -> str:
    """The file suffix of an encoded image, with its dot, by what it is.

    Raises:
        ValueError: not an image.
    """
    try:
        with Image.open(BytesIO(data)) as picture:
            return _SUFFIXES.get(picture.format or "", ".img")
    except UnidentifiedImageError as error:
        raise ValueError("not an image: the shard is damaged, run `simpleseg run --until ingest --force`") from error


def copy_images(source: ImageSource, folder: Path, subfolder: str = "") -> Place:
    """Places images as files `folder/subfolder/KEY.SUFFIX`, byte for byte as they are stored."""

    def place(image: AnnotatedImage) -> str:
        data = source.read_bytes(image.shard, image.key)
        name = f"{subfolder}/{image.key}{image_suffix(data)}" if subfolder else f"{image.key}{image_suffix(data)}"
        with replacing(folder / name) as partial:
            partial.write_bytes(data)
        return name

    return place
