"""COCO instances: images beside an annotation file, objects as polygons or RLE, crowds marked."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask as coco_mask

from simpleseg_core.config import CocoConfig, Config, ContourConfig
from simpleseg_core.data.foreign import check_unique
from simpleseg_core.data.pixels import read_size
from simpleseg_core.data.records import INGEST, read_rows
from simpleseg_core.data.shards import ImageStore, shard_tables
from simpleseg_core.fetch import METADATA, url_key
from simpleseg_core.geometry import Rle, decode_rle, encode_rle
from simpleseg_core.instructions.expressions import Item, name_items
from simpleseg_core.instructions.labels import LabelledImage, Labels, Reference, mask_target
from simpleseg_core.sources._coco_file import AnnotationEntry, CocoFile, ImageEntry, check_outlines, read_coco_file
from simpleseg_core.sources._outlines import outline_rle
from simpleseg_core.sources._pinned import pinned
from simpleseg_core.sources._protocol import Gold, Opened, Source

Row = Mapping[str, Any]

_CURE = "set data.coco.root and data.coco.annotations"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CocoObject:
    """One annotation; the box is xyxy, normalised."""

    category: str
    box: tuple[float, float, float, float]
    outline: Rle | None
    """None where the file has none that holds a pixel."""
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
    COCO's compressed one in the size of the image; a crowd is no instance, but its phrase is no longer unique. So is an
    object without a usable outline, whose RLE is empty.

    Raises:
        ValueError: an image has another size than its annotations say, rotation by EXIF applied.
    """
    for image in read_coco(config):
        body = image.path.read_bytes()
        _check_size(image, body)
        names = dict.fromkeys(item.category for item in image.objects)
        yield image.key, body, ", ".join(names), json.dumps([_note(item, image) for item in image.objects])


def read_coco(config: CocoConfig) -> list[CocoImage]:
    """The images of an annotation file in the order of their ids, at most `config.max_images`.

    Raises:
        FileNotFoundError: no root, annotation file or image.
        ValueError: the annotation file is not COCO's, or has no outlines; the message names the field.
    """
    root, path = _places(config)
    file = read_coco_file(path, _CURE)
    folders, by_image = image_folders(root, path), file.by_image()
    chosen = sorted(file.images.values(), key=lambda item: item.id)[: config.max_images]
    images = [_image(item, by_image.get(item.id, ()), file, folders) for item in chosen]
    check_unique((image.path for image in images), path, "images", "file")
    objects = [item for image in images for item in image.objects]
    check_outlines([item.outline for item in objects], path)
    if empty := sum(item.outline is None for item in objects):
        _log.warning("%s: %d of %d annotations have no outline that holds a pixel", path, empty, len(objects))
    return images


def is_held_out(key: str, seed: int, share: float) -> bool:
    """Whether an image belongs to the benchmark: drawn by its key and the seed, whatever other images there are."""
    draw = int.from_bytes(sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
    return draw < share * 2**64


def image_folders(root: Path, annotations: Path) -> list[Path]:
    """Where the images of an annotation file may be, as COCO is unpacked or as others lay it out.

    Beside the file, in the root, and beside the folder `annotations`, there also in `images`, in `data`, and in the
    folder that the file is named after: `val2017` for `instances_val2017.json`.
    """
    beside = [annotations.parent, root]
    if annotations.parent.name == "annotations":
        beside.append(annotations.parent.parent)
    split = annotations.stem.rpartition("_")[2]
    inside = (".", "images", "data", split, f"images/{split}")
    return list(dict.fromkeys(folder / each for folder in beside for each in inside))


def image_places(folders: Sequence[Path], name: str) -> list[Path]:
    """Where the image of an annotation file may be: by its whole name in each folder, then by its name without folders.

    A name never leads out of the folders, and may be written as Windows writes it.
    """
    name = name.replace("\\", "/")
    whole, bare = Path(name), Path(name).name
    names = [bare] if whole.is_absolute() or ".." in whole.parts else [name, bare]
    return [folder / each for each in dict.fromkeys(names) for folder in folders]


def _places(config: CocoConfig) -> tuple[Path, Path]:
    """The folder of the set, and its annotation file, which is there."""
    if config.root is None:
        raise ValueError("data.coco.root is not set: name the folder of images and annotations")
    path = config.root / config.annotations
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {_CURE}{_candidates(config.root)}")
    return config.root, path


def _candidates(root: Path) -> str:
    """What the annotation file may be, for a message."""
    found = sorted(
        file.relative_to(root).as_posix() for file in (*root.glob("*.json"), *root.glob("annotations/*.json"))
    )
    return f": there is {', '.join(found[:5])}" if found else ""


def _note(item: CocoObject, image: CocoImage) -> dict[str, object]:
    rle = item.outline or encode_rle(np.zeros((image.height, image.width), bool))
    crowd = item.crowd or item.outline is None
    return {"phrase": item.category, "box": item.box, "rle_counts": rle["counts"], "crowd": crowd}


def _check_size(image: CocoImage, body: bytes) -> None:
    try:
        found = read_size(body)
    except ValueError:  # ingest says why it refuses an image
        return
    if found != (image.width, image.height):
        raise ValueError(
            f"{image.path}: {found[0]} x {found[1]} pixels when upright, but annotated in {image.width} x "
            f"{image.height}: give the images that were annotated"
        )


def _image(
    item: ImageEntry, annotations: Sequence[AnnotationEntry], file: CocoFile, folders: Sequence[Path]
) -> CocoImage:
    places = image_places(folders, item.file_name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{places[1]}: no such image, nor elsewhere below {folders[0]} or data.coco.root; {file.path} names it"
        )
    objects = tuple(_object(annotation, item.width, item.height, file) for annotation in annotations)
    return CocoImage(item.id, found, item.width, item.height, objects)


def _object(item: AnnotationEntry, width: int, height: int, file: CocoFile) -> CocoObject:
    if item.category_id is None:
        raise ValueError(f"{file.path}: annotation {item.id} has no category_id: say what it is")
    category = file.categories[item.category_id]
    rle = outline_rle(item.segmentation, width, height, file.path, item.id)
    if rle is None:
        return CocoObject(category, (0.0, 0.0, 0.0, 0.0), None, item.iscrowd)
    left, top, box_width, box_height = (float(side) for side in coco_mask.toBbox(rle))
    box = (left / width, top / height, (left + box_width) / width, (top + box_height) / height)
    return CocoObject(category, box, rle, item.iscrowd)


@contextmanager
def _open(config: Config, work: Path) -> Iterator[Opened]:
    """Photographs with their annotations, which stay true only for images as they are."""
    limits = config.ingest.model_copy(update={"resize": "keep", "near_duplicate_bits": None})
    yield Opened({"coco": config.data.coco.model_dump()}, _tables(config.data.coco), limits)


def _tables(coco: CocoConfig) -> Iterator[pa.Table]:
    for key, body, caption, annotations in coco_rows(coco):
        url = f"coco:{key}"
        row = {"row_id": key, "key": url_key(url), "url": url, "text": caption, "source": "coco"}
        yield pa.Table.from_pylist([row | {"annotations": annotations, "image": key, "body": body}], METADATA)


def _gold(config: Config, ingested: Path, folder: Path) -> Gold:
    rows = (row for path in shard_tables(ingested) for row in read_rows(path, INGEST))
    images = [row for row in rows if row["status"] == "ok" and row["annotations"]]
    test = [row for row in images if is_held_out(row["image"], config.seed, config.data.coco.holdout)]
    held_out = {row["image"] for row in test}
    train = [row for row in images if row["image"] not in held_out]
    if not train or not test:
        raise ValueError(
            f"data.coco: {len(train)} images to train on and {len(test)} held out: raise data.coco.max_images, "
            "or change data.coco.holdout or seed"
        )
    store = ImageStore(ingested.parent)
    benchmark, sft, rl = (pinned(annotated_images(each, config.contour), store) for each in (test, train, train))
    return Gold({"coco/val": benchmark}, sft, rl)


def _check(config: Config) -> None:
    _places(config.data.coco)


SOURCE = Source(_open, _gold, _check)


def annotated_images(rows: Iterable[Row], contour: ContourConfig) -> Iterator[LabelledImage]:
    """Ingested images with gold masks among their annotations (COCO), and expressions by category, size and position.

    Objects smaller than `contour.min_area` are no targets, but they count when a name is asked to be unique.
    """
    for row in rows:
        if row["status"] == "ok" and row["annotations"]:
            yield LabelledImage(
                row["image"], row["shard"], row["width"], row["height"], row["phash"], "coco", _annotated(row, contour)
            )


def _annotated(row: Row, contour: ContourConfig) -> Labels:
    entries = json.loads(row["annotations"])
    single = [item for item in entries if _is_instance(item)]
    size = [row["height"], row["width"]]
    masks = [decode_rle({"size": size, "counts": item["rle_counts"]}) for item in single]
    areas = [float(mask.mean()) for mask in masks]
    items = [Item(item["phrase"], tuple(item["box"]), area) for item, area in zip(single, areas, strict=True)]
    big = [index for index, area in enumerate(areas) if area >= contour.min_area]
    place = {index: number for number, index in enumerate(big)}
    namings = name_items(items, vague=[item["phrase"] for item in entries if not _is_instance(item)])
    references = [
        Reference(naming.text, (place[naming.index],), naming.kind) for naming in namings if naming.index in place
    ]
    return Labels([mask_target(items[index].name, masks[index]) for index in big], references)


def _is_instance(item: Mapping[str, Any]) -> bool:
    return "rle_counts" in item and not item.get("crowd")
