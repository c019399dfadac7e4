"""Reads COCO instances: images beside an annotation file, objects as polygons or RLE, crowds marked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.ExifTags import Base
from pycocotools import mask as coco_mask

from simpleseg_core.config import CocoConfig
from simpleseg_core.geometry import Rle
from simpleseg_core.geometry.rle import rle_spans

_OUTSIDE = 4
"""Image sides by which a vertex may lie outside the image."""


@dataclass(frozen=True, slots=True)
class CocoObject:
    """One annotation; the box is xyxy, normalised."""

    category: str
    box: tuple[float, float, float, float]
    rle: Rle
    crowd: bool


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of the annotation file, with its objects."""

    id: int
    path: Path
    width: int
    height: int
    objects: tuple[CocoObject, ...]

    @property
    def key(self) -> str:
        """Name of the image in shards and tables."""
        return f"{self.id:012d}"


def coco_rows(config: CocoConfig) -> Iterator[tuple[str, bytes, str, str]]:
    """Images as ingest takes them: key, encoded bytes, caption (its categories), and annotations.

    The annotations are JSON, a list of {"phrase", "box", "rle_counts", "crowd"}: the box xyxy and normalised, the RLE
    COCO's compressed one in the size of the image; a crowd is no instance, but its phrase is no longer unique.

    Raises:
        ValueError: an image has another size than its annotations say, rotation by EXIF applied.
    """
    for image in read_coco(config):
        body = image.path.read_bytes()
        _check_size(image, body)
        names = dict.fromkeys(item.category for item in image.objects)
        annotations = [
            {"phrase": item.category, "box": item.box, "rle_counts": item.rle["counts"], "crowd": item.crowd}
            for item in image.objects
        ]
        yield image.key, body, ", ".join(names), json.dumps(annotations)


def read_coco(config: CocoConfig) -> list[CocoImage]:
    """The images of an annotation file in the order of their ids, at most `config.max_images`.

    Raises:
        FileNotFoundError: no root, annotation file or image.
        ValueError: the annotation file is not COCO's; the message names the field.
    """
    if config.root is None:
        raise ValueError("data.coco.root is not set: name the folder of images and annotations")
    path = config.root / config.annotations
    content = load_instances(path, "set data.coco.root and data.coco.annotations")
    categories = {field(item, "id", path, "categories"): str(item.get("name", "")) for item in content["categories"]}
    by_image: dict[int, list[Mapping[str, Any]]] = {}
    for item in content["annotations"]:
        by_image.setdefault(field(item, "image_id", path, "annotations"), []).append(item)
    images = sorted(content["images"], key=lambda item: number(item, "id", path, "images"))[: config.max_images]
    unknown = by_image.keys() - {item["id"] for item in content["images"]}
    if unknown:
        raise ValueError(
            f"{path}: annotations name images {sorted(unknown)[:3]} that `images` lacks: the file is incomplete"
        )
    return [_image(item, by_image.get(item["id"], []), categories, path) for item in images]


def is_held_out(key: str, seed: int, share: float) -> bool:
    """Whether an image belongs to the benchmark: drawn by its key and the seed, whatever other images there are."""
    draw = int.from_bytes(sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
    return draw < share * 2**64


def load_instances(path: Path, cure: str) -> dict[str, list[Any]]:
    """The lists `images`, `annotations` and `categories` of a COCO annotation file, unchecked inside.

    Raises:
        FileNotFoundError: no such file; the message ends in `cure`.
        ValueError: not JSON, or a list is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {cure}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); it must be COCO's instances file: {cure}") from error
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"{path}: no list `{name}`; it must be COCO's instances file: {cure}")
    sections: dict[str, list[Any]] = content
    return sections


def field(item: Any, name: str, path: Path, section: str) -> Any:
    """A field of an entry of a file; ValueError names file, section and field where it is missing."""
    if not isinstance(item, Mapping) or name not in item:
        shown = f": {json.dumps(item, default=str)[:80]}" if isinstance(item, Mapping) and len(item) < 20 else ""
        raise ValueError(f"{path}: an entry of `{section}` has no `{name}`{shown}")
    return item[name]


def number(item: Any, name: str, path: Path, section: str) -> int:
    """A field that must be a whole number, 0 or more."""
    value = field(item, name, path, section)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{path}: `{name}` of an entry of `{section}` is {value!r}: it must be a whole number")
    return value


def image_places(folders: Sequence[Path], name: str) -> list[Path]:
    """Where the image of an annotation file may be: by its whole name in each folder, then by its name without folders.

    A name never leads out of the folders.
    """
    whole, bare = Path(name), Path(name).name
    names = [bare] if whole.is_absolute() or ".." in whole.parts else [name, bare]
    return [folder / each for each in dict.fromkeys(names) for folder in folders]


def _check_size(image: CocoImage, body: bytes) -> None:
    try:
        with Image.open(BytesIO(body)) as picture:
            width, height = picture.size
            turned = picture.getexif().get(Base.Orientation, 1) >= 5
    except Exception:  # Pillow raises whatever damaged headers lead it to; ingest says why it refuses an image
        return
    found = (height, width) if turned else (width, height)
    if found != (image.width, image.height):
        raise ValueError(
            f"{image.path}: {found[0]} x {found[1]} pixels when upright, but annotated in {image.width} x "
            f"{image.height}: give the images that were annotated"
        )


def _image(
    item: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], categories: Mapping[int, str], path: Path
) -> CocoImage:
    width, height = number(item, "width", path, "images"), number(item, "height", path, "images")
    files = image_places((path.parent, path.parent / "images"), str(field(item, "file_name", path, "images")))
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{files[1]}: no such image, nor beside the annotation file; {path} names it")
    objects = [_object(annotation, width, height, categories, path) for annotation in annotations]
    return CocoImage(item["id"], found, width, height, tuple(item for item in objects if item is not None))


def _object(
    item: Mapping[str, Any], width: int, height: int, categories: Mapping[int, str], path: Path
) -> CocoObject | None:
    """An annotation, or None where its outline is empty (polygons of two points occur)."""
    category = categories.get(field(item, "category_id", path, "annotations"))
    if category is None:
        raise ValueError(
            f"{path}: annotation {item.get('id')} has category_id {item['category_id']}, which `categories` lacks"
        )
    rle = outline_rle(field(item, "segmentation", path, "annotations"), width, height, path, item.get("id"))
    if rle is None or not coco_mask.area(rle):
        return None
    left, top, box_width, box_height = (float(side) for side in coco_mask.toBbox(rle))
    box = (left / width, top / height, (left + box_width) / width, (top + box_height) / height)
    return CocoObject(category.lower(), box, rle, bool(item.get("iscrowd", 0)))


def outline_rle(outline: Any, width: int, height: int, path: Path, identifier: Any) -> Rle | None:
    """COCO's forms of an outline as a compressed RLE: polygons, and runs as a list, as a text, or several (refCLEF).

    Returns:
        None where no polygon has three points.

    Raises:
        ValueError: none of these forms, or of another size than the image; names the annotation.
    """
    try:
        merged = _merged(outline, width, height)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: annotation {identifier}: segmentation is neither polygons nor RLE ({error})"
        ) from error
    if merged is None:
        return None
    if list(merged["size"]) != [height, width]:
        raise ValueError(
            f"{path}: annotation {identifier}: RLE of size {merged['size']} in an image of {[height, width]}"
        )
    return {"size": [height, width], "counts": merged["counts"].decode("ascii")}


def _merged(outline: Any, width: int, height: int) -> dict[str, Any] | None:
    if isinstance(outline, list):
        if outline and isinstance(outline[0], Mapping):
            merged: dict[str, Any] = coco_mask.merge([_runs(part, width, height) for part in outline])
            return merged
        rings = [_bounded(ring, width, height) for ring in outline if len(ring) >= 6]
        return coco_mask.merge(coco_mask.frPyObjects(rings, height, width)) if rings else None
    return _runs(outline, width, height)


def _bounded(ring: Sequence[float], width: int, height: int) -> Sequence[float]:
    """A ring that pycocotools can draw: it takes memory for every pixel of a ring's length, and NaN for a number."""
    limit = _OUTSIDE * max(width, height)
    if not all(-limit <= value <= limit for value in ring):
        raise ValueError(f"a coordinate lies more than {limit} pixels outside the image")
    return ring


def _runs(runs: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """An RLE, checked: pycocotools believes every run length it is given."""
    size, counts = [int(side) for side in runs["size"]], runs["counts"]
    if isinstance(counts, list):
        if sum(counts) != size[0] * size[1] or min(counts) < 0:
            raise ValueError(f"its counts do not add up to {size[0]} x {size[1]} pixels")
        counts = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    text = counts if isinstance(counts, str) else counts.decode("ascii")
    rle_spans({"size": size, "counts": text})
    return {"size": size, "counts": text.encode("ascii")}
