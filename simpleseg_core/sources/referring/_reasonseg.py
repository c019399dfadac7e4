"""ReasonSeg and sets laid out like it: beside each image a JSON file with shapes, texts and `is_sentence`."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.foreign import Flag, Name, Real, Side, Text, checked, read_text
from simpleseg_core.data.pixels import SUFFIXES
from simpleseg_core.geometry import Rle, encode_rle
from simpleseg_core.sources.referring._sets import AnnotatedObject, ImageFile, ReferringImage, ReferringSet, Utterance

_log = logging.getLogger(__name__)
_SPLITS = ("train", "val", "test")
_RIM = 64
"""Vertices of a circle."""
_IDLE = "flag"
"""A label of ReasonSeg without meaning."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A shape of labelme: a polygon, a rectangle by two corners, or a circle by its centre and a point of its rim."""

    label: Name
    points: list[Annotated[list[Real], Field(min_length=2, max_length=2)]]
    shape_type: Literal["polygon", "rectangle", "circle"] | None = None
    mask: None = None
    """Pixels, which are not read."""

    @property
    def is_flag(self) -> bool:
        return self.label.lower() == _IDLE


def _two_points(shapes: list[_Shape]) -> list[_Shape]:
    for number, shape in enumerate(shapes):
        if shape.shape_type in ("rectangle", "circle") and len(shape.points) != 2:
            raise ValueError(f"shape {number} is a {shape.shape_type} of {len(shape.points)} points: it must have two")
    return shapes


@dataclass(frozen=True, slots=True)
class _Annotation:
    shapes: Annotated[list[_Shape], AfterValidator(_two_points)]
    text: Text | list[Text]
    is_sentence: Flag = False
    width: Annotated[Side | None, Field(validation_alias="imageWidth")] = None
    height: Annotated[Side | None, Field(validation_alias="imageHeight")] = None


_ANNOTATION = TypeAdapter(_Annotation)


def read_reasonseg(config: ReferringConfig) -> ReferringSet:
    """The folders `train`, `val` and `test` of a set in the layout of ReasonSeg (LISA, arXiv 2308.00692).

    Shapes labelled `target` are the answer, all together; those labelled `ignore` cover what was drawn before them,
    larger shapes first, and are background here: the tables have no third value.

    Raises:
        FileNotFoundError: none of the folders, or no JSON file in one.
        ValueError: a file is not JSON, a field is missing or of another kind, or two images have one name.
    """
    folders = {split: config.root / split for split in _SPLITS if (config.root / split).is_dir()}
    if not folders:
        raise FileNotFoundError(
            f"{config.root}: no folder train, val or test; data.referring: `root` of reasonseg must name the folder "
            "that holds them (docs/datasets.md says where to get them)"
        )
    return ReferringSet(config.name, {split: _read_split(folder, config) for split, folder in folders.items()})


def _read_split(folder: Path, config: ReferringConfig) -> tuple[ReferringImage, ...]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".json")
    if not files:
        raise FileNotFoundError(f"{folder}: no JSON file beside the images; get the split anew")
    pictures = _pictures(folder)
    if silent := sorted(pictures.keys() - {file.stem for file in files}):
        _log.warning("%s: %d images without a JSON file are passed over, such as %s", folder, len(silent), silent[0])
    return tuple(_read_image(file, pictures.get(file.stem)) for file in files[: config.max_images])


def _pictures(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without suffix."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in SUFFIXES and (other := found.setdefault(file.stem, file)) != file:
            raise ValueError(f"{other} and {file.name} have one name: keep the one that was annotated")
    return found


def _read_image(file: Path, found: Path | None) -> ReferringImage:
    content = checked(_ANNOTATION, _load(file), file, "annotation")
    texts = [content.text] if isinstance(content.text, str) else content.text
    kind = "sentence" if content.is_sentence else "phrase"
    picture = ImageFile(found or file.with_suffix(".jpg"))
    width, height = content.width or 0, content.height or 0
    if found and not (width and height):
        width, height = picture.size()
    segment = AnnotatedObject("object", None, partial(_rle, content.shapes, width, height, file))
    utterances = tuple(Utterance(file.stem, text.strip(), (0,), kind) for text in texts)
    key = f"reasonseg-{file.parent.name}-{file.stem}"  # the splits number their images each from the start
    return ReferringImage(key, picture, width, height, (segment,), utterances)


def _load(file: Path) -> Any:
    try:
        return json.loads(read_text(file))  # some of the published files are in the code page of Windows
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error}); get the file anew") from error


def _rle(shapes: Sequence[_Shape], width: int, height: int, file: Path) -> Rle | None:
    """Shapes from the largest to the smallest, each over those before it; one of less than three points holds none."""
    drawn = [(_points(shape, width, height, file), shape.label) for shape in shapes if not shape.is_flag]
    canvas = np.zeros((height, width), np.uint8)
    for points, label in sorted(drawn, key=lambda item: -cv2.contourArea(item[0])):
        if len(points) > 2:
            cv2.fillPoly(canvas, [points], 0 if "ignore" in label.lower() else 1)
    return encode_rle(canvas.astype(bool)) if canvas.any() else None


def _points(shape: _Shape, width: int, height: int, file: Path) -> np.ndarray:
    """The outline in whole pixels, int32 (N, 1, 2), as the set's own loader draws it."""
    limit = 4 * max(width, height)
    if not shape.points or any(abs(side) > limit for point in shape.points for side in point):
        raise ValueError(f"{file}: `points` of a shape are missing, or more than {limit} pixels outside the image")
    return _outline(shape).astype(np.int32)[:, None]


def _outline(shape: _Shape) -> np.ndarray:
    """Vertices, float (N, 2)."""
    points = np.array(shape.points, np.float64)
    if shape.shape_type == "rectangle":
        (left, top), (right, bottom) = points
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if shape.shape_type == "circle":
        angles = np.linspace(0, 2 * np.pi, _RIM, endpoint=False)
        radius = np.hypot(*(points[1] - points[0]))
        return np.asarray(np.rint(points[0] + radius * np.column_stack([np.cos(angles), np.sin(angles)])))
    return points
