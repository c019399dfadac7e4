"""ReasonSeg and sets laid out like it: beside each image a JSON file with shapes, texts and `is_sentence`."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simpleseg_core.config import ReferringConfig
from simpleseg_core.data.coco import field
from simpleseg_core.data.referring._sets import FilePicture, ReferringImage, ReferringSet, Segment, Utterance
from simpleseg_core.geometry import Rle, encode_rle

_SPLITS = ("train", "val", "test")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_IDLE = "flag"
"""A label of ReasonSeg without meaning."""


def read_reasonseg(config: ReferringConfig) -> ReferringSet:
    """The folders `train`, `val` and `test` of a set in the layout of ReasonSeg (LISA, arXiv 2308.00692).

    Shapes labelled `target` are the answer, all together; those labelled `ignore` cover what was drawn before them,
    larger shapes first, and are background here: the tables have no third value.

    Raises:
        FileNotFoundError: none of the folders, or no JSON file in one.
        ValueError: a file is not JSON, or a field is missing or of another kind.
    """
    folders = {split: config.root / split for split in _SPLITS if (config.root / split).is_dir()}
    if not folders:
        raise FileNotFoundError(
            f"{config.root}: no folder train, val or test; data.referring: `root` of reasonseg must name the folder "
            "that holds them (docs/datasets.md says where to get them)"
        )
    return ReferringSet(config.name, {split: _read_split(folder, config) for split, folder in folders.items()})


def _read_split(folder: Path, config: ReferringConfig) -> tuple[ReferringImage, ...]:
    files = sorted(folder.glob("*.json"))[: config.max_images]
    if not files:
        raise FileNotFoundError(f"{folder}: no JSON file beside the images; get the split anew")
    return tuple(_read_image(file) for file in files)


def _read_image(file: Path) -> ReferringImage:
    content = _load(file)
    shapes = field(content, "shapes", file, "annotation")
    texts = field(content, "text", file, "annotation")
    if not isinstance(shapes, list):
        raise ValueError(f"{file}: `shapes` is a {type(shapes).__name__}: it must be a list")
    texts = texts if isinstance(texts, list) else [texts]
    kind = "sentence" if content.get("is_sentence") else "phrase"
    found = [path for suffix in _SUFFIXES if (path := file.with_suffix(suffix)).is_file()]
    picture = FilePicture(found[0] if found else file.with_suffix(_SUFFIXES[0]))
    width, height = picture.size() if found else (0, 0)
    segment = Segment("object", None, partial(_rle, tuple(shapes), width, height, file))
    utterances = tuple(Utterance(file.stem, str(text).strip(), (0,), kind) for text in texts)
    key = f"reasonseg-{file.parent.name}-{file.stem}"  # the splits number their images each from the start
    return ReferringImage(key, picture, width, height, (segment,), utterances)


def _load(file: Path) -> Mapping[str, Any]:
    data = file.read_bytes()
    try:
        try:
            content = json.loads(data.decode("utf-8"))
        except UnicodeDecodeError:
            content = json.loads(data.decode("cp1252"))  # some of the published files are
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error}); get the file anew") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected `shapes` and `text`, found a {type(content).__name__}")
    return content


def _rle(shapes: Sequence[Any], width: int, height: int, file: Path) -> Rle | None:
    """Shapes from the largest to the smallest, each over those before it."""
    drawn = [(_points(shape, width, height, file), field(shape, "label", file, "shapes")) for shape in shapes]
    drawn = [(points, label) for points, label in drawn if str(label).lower() != _IDLE]
    canvas = np.zeros((height, width), np.uint8)
    for points, label in sorted(drawn, key=lambda item: -cv2.contourArea(item[0])):
        cv2.fillPoly(canvas, [points], 0 if "ignore" in str(label).lower() else 1)
    return encode_rle(canvas.astype(bool)) if canvas.any() else None


def _points(shape: Any, width: int, height: int, file: Path) -> np.ndarray:
    """The outline in whole pixels, int32 (N, 1, 2), as the set's own loader draws it."""
    points = field(shape, "points", file, "shapes")
    try:
        outline = np.array(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: `points` of a shape are not pairs of numbers ({error})") from error
    limit = 4 * max(width, height)
    if not len(outline) or not np.all(np.abs(outline) <= limit):
        raise ValueError(f"{file}: `points` of a shape are missing, or more than {limit} pixels outside the image")
    return outline.astype(np.int32)[:, None]
