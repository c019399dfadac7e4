"""COCO's annotation file: images, annotations and categories, checked against one another."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, FailFast, Field, TypeAdapter

from simpleseg_core.data.foreign import Flag, Id, Name, Number, Real, Side, check_unique, checked, read_json

_LISTS = ("images", "annotations", "categories")
Box = Annotated[
    Annotated[list[Real], Field(min_length=4, max_length=4)] | None, BeforeValidator(lambda box: box or None)
]


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An entry of `images`."""

    id: Number
    file_name: Name
    width: Side
    height: Side


@dataclass(frozen=True, slots=True)
class AnnotationEntry:
    """An entry of `annotations`; what its outline holds is checked when it is drawn."""

    image_id: Number
    category_id: Number | None = None
    id: Id | None = None
    segmentation: Any = None
    bbox: Box = None
    """Left, top, width, height in pixels."""
    iscrowd: Flag = False


@dataclass(frozen=True, slots=True)
class CategoryEntry:
    """An entry of `categories`."""

    id: Number
    name: Name


_IMAGES = TypeAdapter(Annotated[list[ImageEntry], FailFast()])
_ANNOTATIONS = TypeAdapter(Annotated[list[AnnotationEntry], FailFast()])
_CATEGORIES = TypeAdapter(Annotated[list[CategoryEntry], FailFast()])


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The file, whole: ids are unique, and what they name exists."""

    path: Path
    images: Mapping[int, ImageEntry]
    annotations: Sequence[AnnotationEntry]
    categories: Mapping[int, str]
    """In small letters."""

    def by_image(self) -> Mapping[int, Sequence[AnnotationEntry]]:
        """The annotations of each image that has some, in the order of the file."""
        found = defaultdict(list)
        for each in self.annotations:
            found[each.image_id].append(each)
        return found


def read_coco_file(path: Path, cure: str) -> CocoFile:
    """Read and check an annotation file.

    Raises:
        FileNotFoundError: no such file; the message ends in `cure`.
        ValueError: not JSON, a list or a field is missing or of another kind, or an id is taken or names nothing.
    """
    content = read_json(path, cure)
    for name in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise ValueError(f"{path}: no list `{name}`; it must be COCO's instances file: {cure}")
    images = checked(_IMAGES, content["images"], path, "images")
    annotations = checked(_ANNOTATIONS, content["annotations"], path, "annotations")
    categories = checked(_CATEGORIES, content["categories"], path, "categories")
    check_unique((each.id for each in images), path, "images")
    check_unique((each.file_name for each in images), path, "images", "file_name")
    check_unique((each.id for each in annotations if each.id is not None), path, "annotations")
    check_unique((each.id for each in categories), path, "categories")
    names = {each.id: " ".join(each.name.lower().split()) for each in categories}
    file = CocoFile(path, {each.id: each for each in images}, annotations, names)
    _check_references(file)
    return file


def check_outlines(outlines: Collection[object], path: Path) -> None:
    """ValueError where there are annotations, and not one of their outlines holds anything."""
    if outlines and not any(outlines):
        raise ValueError(
            f"{path}: no annotation has an outline in `segmentation`: boxes alone are nothing to learn outlines from; "
            "give the file with the outlines"
        )


def _check_references(file: CocoFile) -> None:
    if unknown := {each.image_id for each in file.annotations} - file.images.keys():
        raise ValueError(
            f"{file.path}: annotations name images {sorted(unknown)[:3]} that `images` lacks: the file is incomplete"
        )
    for each in file.annotations:
        if each.category_id is not None and each.category_id not in file.categories:
            raise ValueError(
                f"{file.path}: annotation {each.id} has category_id {each.category_id}, which `categories` lacks"
            )
