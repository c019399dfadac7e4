"""What benchmarks/codec.py compares, our codec and the published recipe, and the masks that it compares them on."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from simpleseg_core.geometry import Mask, Rle, decode_rle, encode_rle, mask_to_polygons
from simpleseg_core.grammar import Style, format_polygons

Encoder = Callable[[Mask], str]


@dataclass(frozen=True)
class Instance:
    """One object: its mask, and whether its image is of the half that was tuned on."""

    rle: Rle
    tuned_on: bool

    def mask(self) -> Mask:
        return decode_rle(self.rle)


def read_instances(file: Path) -> list[Instance]:
    """All instances of a COCO file that are no crowds."""
    content = json.loads(file.read_text())
    images = {image["id"]: image for image in content["images"]}
    even = set(sorted(images)[::2])
    instances = []
    for annotation in content["annotations"]:
        if annotation.get("iscrowd"):
            continue
        image = images[annotation["image_id"]]
        parts = coco.frPyObjects(annotation["segmentation"], image["height"], image["width"])
        merged = coco.decode(coco.merge(parts)).astype(bool)
        instances.append(Instance(encode_rle(merged), image["id"] in even))
    return instances


def published_encode(mask: Mask, tolerance: float = 0.005) -> str:
    """The released data preparation: outer contours, Douglas-Peucker, pixel centres over the image's size."""
    height, width = mask.shape
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    thinned = [cv2.approxPolyDP(c, tolerance * cv2.arcLength(c, True), True).reshape(-1, 2) for c in contours]
    return str([np.round(points / np.array([width, height]), 3).tolist() for points in thinned])


def published_decode(text: str, height: int, width: int) -> Mask:
    """The released decoding: pixel edges, one polygon after the other; those of under three points are left out."""
    filled = np.zeros((height, width), np.uint8)
    for polygon in ast.literal_eval(text):
        if len(polygon) >= 3:
            ring = (np.array(polygon) * (width, height)).ravel().tolist()
            filled |= coco.decode(coco.frPyObjects([ring], height, width))[..., 0]
    return filled.astype(bool)


def our_encode(style: Style, **options: Any) -> Encoder:
    """Our codec in one style of text."""
    return lambda mask: format_polygons(mask_to_polygons(mask, **options), style=style)
