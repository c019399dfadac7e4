"""Image files of one's own in the shards that the annotation stages read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from simpleseg_core.annotate.annotations import read_boxes
from simpleseg_core.config import IngestConfig
from simpleseg_core.data.foreign import read_text
from simpleseg_core.data.pixels import SUFFIXES
from simpleseg_core.data.records import INGEST, write_table
from simpleseg_core.data.shards import write_shard
from simpleseg_core.fetch import DecodedImage, Refused, inspect

_UNREAD = frozenset(
    ".heic .heif .heics .hif .jxl .jp2 .j2k .jpx .jxr .psd .svg .eps .ppm .pgm .pbm .pnm .pam .pfm .tga .exr .hdr .ico"
    " .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .raf .rw2 .pef .srw .x3f .rwl .3fr .iiq .dcm".split()
)
"""Images that cannot be read: they are named among the failures, not passed over."""
_SHARD_SIZE = 8
"""Images in a shard: what progress is counted in, and what a killed run loses at most."""
_MAX_ASPECT = 100.0
_QUALITY = 95


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An image file and what is known of it: a caption, or boxes as a JSON list of {phrase, box}; "" for unknown."""

    path: Path
    key: str
    """Its name in every table."""
    caption: str = ""
    boxes: str = ""


@dataclass(slots=True)
class OwnShards:
    """What became of the images."""

    images: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Key -> why the file could not be used."""


def find_images(paths: Sequence[Path], leave_out: Path) -> list[OwnImage]:
    """The files that are named, and the images in folders that are named, with what files beside them say.

    `photo.txt` beside `photo.jpg` is its caption, `photo.json` its boxes. Images of kinds that cannot be read are among
    them, to be named as such.

    Args:
        leave_out: a folder that is not searched.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no image.
        ValueError: a path is the folder that is not searched.
    """
    taken: dict[str, OwnImage] = {}
    for path in paths:
        if path.resolve() == leave_out.resolve():
            raise ValueError(f"{path}: images cannot be where results go; name another folder for those")
        files = [(path, Path(path.name))] if path.is_file() else list(_walk(path, leave_out.resolve()))
        for file, name in files:
            key = _free(_readable(name.with_suffix("")), taken)
            taken[key] = OwnImage(file, key, _beside(file, ".txt"), _beside(file, ".json"))
    return list(taken.values())


def write_own_shards(images: Iterable[OwnImage], folder: Path, limits: IngestConfig) -> OwnShards:
    """Fill a folder with `NNNNN.tar` and `NNNNN.parquet`; files that are not images are left out, with the reason.

    So are those with boxes beside them that are none.

    Rotation by EXIF is applied, so that coordinates are those of the image as people see it. Whatever the folder held
    before is gone from it.
    """
    result, stream, number = OwnShards(), iter(images), 0
    own_limits = limits.model_copy(
        update={"resize": "keep", "min_side": 2, "max_aspect": _MAX_ASPECT, "jpeg_quality": _QUALITY}
    )
    while batch := list(islice(stream, _SHARD_SIZE)):
        usable = [(image, picture) for image in batch if (picture := _inspect(image, own_limits, result))]
        if usable:
            stem = f"{number:05d}"
            write_shard(((f"{image.key}.jpg", picture.data) for image, picture in usable), folder / f"{stem}.tar")
            rows = [_row(image, picture, f"{folder.name}/{stem}.tar") for image, picture in usable]
            write_table(rows, INGEST, folder / f"{stem}.parquet")
            result.images += len(usable)
            number += 1
    _remove_from(folder, number)
    return result


def _walk(folder: Path, leave_out: Path) -> Iterator[tuple[Path, Path]]:
    """Image files below a folder, in order, and their names relative to it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such file or folder")
    known = SUFFIXES | _UNREAD  # a link that leads nowhere is among them, to be named
    found = [file for file in sorted(_inside(folder, set())) if file.suffix.lower() in known]
    found = [file for file in found if leave_out not in file.resolve().parents]
    if not found:
        raise FileNotFoundError(f"{folder}: no image in it; known are {', '.join(sorted(SUFFIXES))}")
    yield from ((file, file.relative_to(folder)) for file in found)


def _inside(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Files below a folder, through links too; `seen` are folders where it has been, for links may lead in circles."""
    if (real := folder.resolve()) not in seen:
        seen.add(real)
        for path in sorted(folder.iterdir()):
            yield from _inside(path, seen) if path.is_dir() else [path]


def _readable(path: Path) -> str:
    """A path as text; bytes that are no UTF-8, which no table takes, become replacement characters."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _free(name: str, taken: dict[str, OwnImage]) -> str:
    """The name, with a number behind it where another image has it already."""
    return next(key for number in range(1, len(taken) + 2) if (key := _numbered(name, number)) not in taken)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _beside(file: Path, suffix: str) -> str:
    others = [other for name in (suffix, suffix.upper()) if (other := file.with_suffix(name)).is_file()]
    return read_text(others[0]).strip() if others else ""


def _inspect(image: OwnImage, limits: IngestConfig, result: OwnShards) -> DecodedImage | None:
    try:
        read_boxes(image.boxes, str(image.path.with_suffix(".json")))
        return inspect(image.path.read_bytes(), limits)
    except ValueError as error:
        result.refused[image.key] = str(error)
    except Refused as refused:
        cure = (
            f"; {suffix} is not read: save it as JPEG or PNG"
            if (suffix := image.path.suffix.lower()) in _UNREAD
            else ""
        )
        result.refused[image.key] = f"{refused.status.replace('_', ' ')}: {refused.detail}{cure}"
    except OSError as error:
        result.refused[image.key] = str(error)
    return None


def _row(image: OwnImage, picture: DecodedImage, shard: str) -> dict[str, Any]:
    return picture.columns | {
        "row_id": image.key,
        "url": _readable(image.path),
        "text": image.caption,
        "status": "ok",
        "image": image.key,
        "shard": shard,
        "source": "own",
        "annotations": image.boxes,
    }


def _remove_from(folder: Path, number: int) -> None:
    for file in folder.glob("[0-9]*.*"):
        if not file.stem.isdigit() or int(file.stem) >= number:
            file.unlink()
