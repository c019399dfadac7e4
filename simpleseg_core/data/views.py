"""Images with all that can be asked about them: RefShapes, COCO, referring data sets, our own annotations."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image

from simpleseg_core.config import ContourConfig, RefShapesConfig
from simpleseg_core.data.expressions import Item, name_items
from simpleseg_core.data.outlines import row_mask, row_polygons
from simpleseg_core.data.pairs import Reference, Target, View, mask_target, outline, scene_view
from simpleseg_core.data.perceptual_hash import draft, phash
from simpleseg_core.data.referring import Picture, ReferringImage
from simpleseg_core.data.refshapes import Scene, scene
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.geometry import decode_rle

Row = Mapping[str, Any]

_SHARD_SIZE = 500
_QUALITY = 95
AMBIGUOUS = "ambiguous"
"""`description_source` of a description that several instances of the image answer to."""


@dataclass(frozen=True, slots=True)
class ViewedImage:
    """An image of a shard with its view."""

    image: str
    shard: str
    width: int
    height: int
    phash: str
    """64 bits in hex."""
    source: str
    view: View
    shared: bool = False
    """Whether other sources ask about the same image: its samples are then called by source and image."""

    @property
    def name(self) -> str:
        """What its samples are called, before their number."""
        return f"{self.source}/{self.image}" if self.shared else self.image

    @property
    def reference(self) -> dict[str, Any]:
        """The columns that name the image in every table."""
        return {"image": self.image, "shard": self.shard, "width": self.width, "height": self.height}

    def rng(self, seed: int, use: str) -> np.random.Generator:
        """Random numbers of this image for one use, whatever images come before it."""
        return np.random.default_rng([seed, crc32(self.name.encode()), crc32(use.encode())])


def scene_views(
    config: RefShapesConfig, seed: int, split: str, indices: range, name: str, folder: Path
) -> Iterator[ViewedImage]:
    """RefShapes scenes, written to JPEG shards `folder/images/NAME-00000.tar` as they are made."""
    for number, start in enumerate(range(0, len(indices), _SHARD_SIZE)):
        scenes = {index: scene(config, seed, split, index) for index in indices[start : start + _SHARD_SIZE]}
        tar = folder / "images" / f"{name}-{number:05d}.tar"
        keys = {index: f"{name}-{index:07d}" for index in scenes}
        write_shard(((f"{keys[i]}.jpg", encode_jpeg(item.image, _QUALITY)) for i, item in scenes.items()), tar)
        shard = f"{folder.name}/images/{tar.name}"
        yield from (_scene_image(item, keys[index], shard, seed) for index, item in scenes.items())


def _scene_image(item: Scene, key: str, shard: str, seed: int) -> ViewedImage:
    height, width = item.image.shape[:2]
    view = scene_view(item, np.random.default_rng([seed, crc32(key.encode())]))
    return ViewedImage(key, shard, width, height, phash(Image.fromarray(item.image)), "refshapes", view)


def annotated_views(rows: Iterable[Row], contour: ContourConfig) -> Iterator[ViewedImage]:
    """Ingested images with gold masks among their annotations (COCO), and expressions by category, size and position.

    Objects smaller than `contour.min_area` are no targets, but they count when a name is asked to be unique.
    """
    for row in rows:
        if row["status"] == "ok" and row["annotations"]:
            yield ViewedImage(
                row["image"], row["shard"], row["width"], row["height"], row["phash"], "coco", _annotated(row, contour)
            )


def _annotated(row: Row, contour: ContourConfig) -> View:
    entries = [item for item in json.loads(row["annotations"]) if "rle_counts" in item]
    single = [item for item in entries if not item.get("crowd")]
    size = [row["height"], row["width"]]
    masks = [decode_rle({"size": size, "counts": item["rle_counts"]}) for item in single]
    areas = [float(mask.mean()) for mask in masks]
    items = [Item(item["phrase"], tuple(item["box"]), area) for item, area in zip(single, areas, strict=True)]
    big = [index for index, area in enumerate(areas) if area >= contour.min_area]
    place = {index: number for number, index in enumerate(big)}
    namings = name_items(items, vague=[item["phrase"] for item in entries if item.get("crowd")])
    references = [
        Reference(naming.text, (place[naming.index],), naming.kind) for naming in namings if naming.index in place
    ]
    return View([mask_target(items[index].name, masks[index]) for index in big], references)


def described_views(rows: Sequence[Row], phashes: Mapping[str, str]) -> Iterator[ViewedImage]:
    """Images of our own annotation pipeline, one for each group of description rows.

    Args:
        rows: of the descriptions table, those of one image together.
        phashes: of each image, by key.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["image"], []).append(row)
    for image, group in groups.items():
        first = group[0]
        references = [
            Reference(row["description"], (index,), "description")
            for index, row in enumerate(group)
            if row["description_source"] != AMBIGUOUS
        ]
        view = View([_target(row) for row in group], references)
        phash = phashes.get(image, "")
        yield ViewedImage(image, first["shard"], first["width"], first["height"], phash, "annotations", view)


def _target(row: Row) -> Target:
    return Target(row["phrase"], row_mask(row), tuple(row["box"]), tuple(row["point"]), row_polygons(row))


@dataclass(frozen=True, slots=True)
class Packed:
    """An image of a referring set, in a shard."""

    shard: str
    width: int
    height: int
    phash: str


def pack_pictures(
    images: Iterable[ReferringImage], folder: Path, advance: Callable[[], None] = lambda: None
) -> dict[str, Packed]:
    """Write each image once to shards `folder/images/referring-00000.tar`, bytes as they are; key -> where it lies.

    Raises:
        FileNotFoundError: files are missing; said before anything is written.
        ValueError: a file is no image.
    """
    pictures: dict[str, Picture] = {}
    for image in images:
        pictures.setdefault(image.key, image.picture)
    missing = [str(picture) for picture in pictures.values() if not picture.exists()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: no such image; {len(missing)} of {len(pictures)} images of data.referring are missing: "
            "set `images` of the set to their folder (docs/datasets.md), then `simpleseg data check`"
        )
    packed: dict[str, Packed] = {}
    for number, start in enumerate(range(0, len(pictures), _SHARD_SIZE)):
        part = dict(islice(pictures.items(), start, start + _SHARD_SIZE))
        tar = folder / "images" / f"referring-{number:05d}.tar"
        write_shard(_members(part, f"{folder.name}/images/{tar.name}", packed, advance), tar)
    return packed


def _members(
    pictures: Mapping[str, Picture], shard: str, packed: dict[str, Packed], advance: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    for key, picture in pictures.items():
        body = picture.read()
        try:
            with Image.open(BytesIO(body)) as image:
                width, height = image.size
                draft(image)
                packed[key] = Packed(shard, width, height, phash(image))
                suffix = {"JPEG": "jpg"}.get(str(image.format), str(image.format).lower())
        except Exception as error:  # Pillow's plugins raise whatever damage leads them to
            raise ValueError(f"{picture}: not a readable image ({error}); get the file anew") from error
        advance()
        yield f"{key}.{suffix}", body


def referring_views(
    images: Iterable[ReferringImage], source: str, packed: Mapping[str, Packed], contour: ContourConfig | None = None
) -> Iterator[ViewedImage]:
    """Images of a referring set with their expressions; masks are decoded as each image is reached.

    An expression whose objects all have empty outlines (polygons of two points occur) is left out, and so is one
    without words.

    Args:
        contour: set: outlines are traced once for all questions about an object.

    Raises:
        ValueError: an image has another size than its annotations say.
    """
    for image in images:
        place = packed[image.key]
        if (place.width, place.height) != (image.width, image.height):
            raise ValueError(
                f"{image.picture}: {place.width} x {place.height} pixels, but {source} annotates it in "
                f"{image.width} x {image.height}: the images are not the original ones, set `images` to those"
            )
        view = _referring(image, contour)
        yield ViewedImage(image.key, place.shard, place.width, place.height, place.phash, source, view, shared=True)


def _referring(image: ReferringImage, contour: ContourConfig | None) -> View:
    said = {each.segments[0]: each.text for each in reversed(image.utterances) if len(each.segments) == 1}
    masks = {index: decode_rle(rle) for index, each in enumerate(image.segments) if (rle := each.rle()) is not None}
    masks = {index: mask for index, mask in masks.items() if mask.any()}
    place = {index: number for number, index in enumerate(masks)}
    references = [
        Reference(each.text, meant, each.kind)
        for each in image.utterances
        if (meant := tuple(place[index] for index in each.segments if index in place)) or not each.segments
        if each.text
    ]
    targets = [mask_target(said.get(index) or image.segments[index].name, mask) for index, mask in masks.items()]
    if contour is not None and contour.order != "shuffled":
        targets = [replace(target, polygons=outline(target.mask, contour)) for target in targets]
    return View(targets, references)
