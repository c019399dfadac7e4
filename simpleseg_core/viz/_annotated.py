"""A whole image with all its instances: outlines in colours that differ, and a tag with the name of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from simpleseg_core.viz._lettering import Lettering
from simpleseg_core.viz._overlay import RgbImage, upscale

# Told apart by every kind of colour vision, in this order as far as possible (Okabe and Ito, without the dark ones).
_COLOURS = ((86, 180, 233), (230, 159, 0), (204, 121, 167), (240, 228, 66), (0, 178, 130), (240, 112, 40))
_FILL = 0.35
_MAX_SIDE = 1600
_MIN_SIDE = 480
_TAG_INK = (16, 18, 22)


@dataclass(frozen=True, slots=True, eq=False)
class Tagged:
    """An instance to draw."""

    polygons: Sequence[NDArray[np.float64]]
    """Each (N, 2), normalised."""
    label: str


def draw_annotated(image: RgbImage, items: Sequence[Tagged]) -> RgbImage:
    """The image, uint8 (h, w, 3) RGB, with every instance filled, outlined and named; very large images are shrunk."""
    canvas = _fitted(image)
    size = np.array(canvas.shape[1::-1])
    for index, item in enumerate(items):
        # OpenCV counts from pixel centres, polygons from edges.
        rings = [np.rint(polygon * size - 0.5).astype(np.int32).reshape(-1, 1, 2) for polygon in item.polygons]
        _paint(canvas, rings, _COLOURS[index % len(_COLOURS)])
    page = Image.fromarray(canvas)
    for index, item in enumerate(items):
        _tag(page, item, _COLOURS[index % len(_COLOURS)])
    return np.asarray(page)


def _fitted(image: RgbImage) -> RgbImage:
    picture = Image.fromarray(upscale(image, _MIN_SIDE))
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.array(picture)


def _paint(canvas: RgbImage, rings: Sequence[NDArray[np.int32]], colour: tuple[int, int, int]) -> None:
    inside = np.zeros(canvas.shape[:2], np.uint8)
    for ring in rings:  # one by one: together, parts that overlap would cut holes into each other
        cv2.fillPoly(inside, [ring], 1)
    covered = inside > 0
    canvas[covered] = ((1 - _FILL) * canvas[covered] + _FILL * np.asarray(colour)).astype(np.uint8)
    width = max(2, max(canvas.shape[:2]) // 400)
    cv2.polylines(canvas, rings, True, (0, 0, 0), width + 2, cv2.LINE_AA)
    cv2.polylines(canvas, rings, True, colour, width, cv2.LINE_AA)


def _tag(page: Image.Image, item: Tagged, colour: tuple[int, int, int]) -> None:
    """The name on a patch of the instance's colour, at its top left corner and inside the image."""
    points = np.concatenate([np.asarray(polygon) for polygon in item.polygons]) * page.size
    size = int(np.clip(max(page.size) // 50, 11, 20))
    letters = Lettering(size)
    text = letters.fit(item.label, page.width - size)
    width, height = round(letters.width(text)) + size // 2, round(1.4 * size)
    left = int(np.clip(points[:, 0].min(), 0, max(0, page.width - width)))
    top = int(np.clip(points[:, 1].min() - height, 0, max(0, page.height - height)))
    pen = ImageDraw.Draw(page)
    pen.rectangle((left, top, left + width, top + height), fill=colour)
    letters.draw(pen, (left + size // 4, top + size // 8), text, _TAG_INK)
