"""Annotated instances to look at: mask, polygons and detector's box on a crop, phrase and scores above it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from simpleseg_core.viz._lettering import Lettering
from simpleseg_core.viz._overlay import PREDICTION_COLOUR, TRUTH_COLOUR, RgbImage
from simpleseg_core.viz._sheets import contact_sheet

_SIDE = 300
_PAPER, _INK, _SOFT = (250, 250, 250), (30, 34, 40), (92, 102, 117)
_BOX_COLOUR = (255, 221, 0)
_LEGEND = "cyan: mask, magenta: polygons, yellow: the detector's box"
_FILL = 0.3
_CONTEXT = 0.75
"""How far the crop goes beyond the instance on each side, as a share of its longer side."""
_SUBPIXEL = 4
"""Bits of a pixel in OpenCV's drawing."""
_COLUMNS = 4

Window = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the image."""


@dataclass(frozen=True, slots=True, eq=False)
class InstanceView:
    """One annotated instance."""

    image: RgbImage
    mask: NDArray[np.bool_]
    """(H, W)."""
    polygons: Sequence[NDArray[np.float64]]
    """Each (N, 2), normalised."""
    box: Sequence[float]
    """The detector's: xyxy, normalised."""
    title: str
    details: str
    """A second, smaller line, such as the scores."""


def draw_instance(view: InstanceView, side: int = _SIDE) -> RgbImage:
    """A square picture of an instance with some of what surrounds it, below two lines of text.

    The mask is filled (cyan), the polygons are lines (magenta), the box is a thin frame (yellow).

    Returns:
        uint8 (side + caption, side, 3) RGB.

    Raises:
        ValueError: the mask's shape differs from the image's.
    """
    if view.mask.shape != view.image.shape[:2]:
        raise ValueError(
            f"mask has shape {view.mask.shape}, its image {view.image.shape[:2]}: decode both at the same size"
        )
    window = _window(view)
    scale = side / max(window[2] - window[0], window[3] - window[1])
    canvas, mask = _crop(view.image, window, scale), _crop(view.mask.astype(np.uint8), window, scale) > 0
    canvas[mask] = ((1 - _FILL) * canvas[mask] + _FILL * np.asarray(TRUTH_COLOUR)).astype(np.uint8)
    to_canvas = _fixed_point(view.image.shape[1::-1], window, scale)
    x0, y0, x1, y1 = view.box
    _line(canvas, [to_canvas(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))], _BOX_COLOUR, 1)
    lines = [to_canvas(polygon) for polygon in view.polygons]
    _line(canvas, lines, (0, 0, 0), 4)
    _line(canvas, lines, PREDICTION_COLOUR, 2)
    page = np.full((side, side, 3), _PAPER, np.uint8)
    page[: canvas.shape[0], : canvas.shape[1]] = canvas
    return np.concatenate([_caption(view, side), page])


def instance_sheet(title: str, sections: Mapping[str, Sequence[InstanceView]]) -> RgbImage:
    """A page with a title and, for each section, a heading and rows of four; empty sections are left out.

    Raises:
        ValueError: no instances at all.
    """
    filled = {heading: views for heading, views in sections.items() if views}
    if not filled:
        raise ValueError("a contact sheet needs at least one instance")
    pages = [_page(heading, views) for heading, views in filled.items()]
    width = max(page.shape[1] for page in pages)
    padded = [np.pad(page, ((0, 0), (0, width - page.shape[1]), (0, 0)), constant_values=_PAPER[0]) for page in pages]
    return np.concatenate([_strip(f"{title}  ({_LEGEND})", width, 13, _SOFT), *padded])


def _page(heading: str, views: Sequence[InstanceView]) -> RgbImage:
    sheet = contact_sheet([draw_instance(view) for view in views], _COLUMNS)
    return np.concatenate([_strip(heading, sheet.shape[1], 17, _INK), sheet])


def _strip(text: str, width: int, size: int, colour: tuple[int, int, int]) -> RgbImage:
    strip, letters = Image.new("RGB", (width, 2 * size), _PAPER), Lettering(size)
    letters.draw(ImageDraw.Draw(strip), (12, size * 2 // 3), letters.fit(text, width - 24), colour)
    return np.asarray(strip)


def _window(view: InstanceView) -> Window:
    """The instance, its box and some context; never outside the image, never empty."""
    height, width = view.mask.shape
    rows, columns = np.flatnonzero(view.mask.any(axis=1)), np.flatnonzero(view.mask.any(axis=0))
    low = np.array(view.box[:2]) * (width, height)
    high = np.array(view.box[2:]) * (width, height)
    if len(rows):
        low, high = np.minimum(low, (columns[0], rows[0])), np.maximum(high, (columns[-1] + 1, rows[-1] + 1))
    margin = _CONTEXT * float((high - low).max())
    left, top = np.floor((low - margin).clip(0, (width - 1, height - 1))).astype(int).tolist()
    right, bottom = np.ceil((high + margin).clip((left + 1, top + 1), (width, height))).astype(int).tolist()
    return left, top, right, bottom


def _crop(pixels: NDArray[np.uint8], window: Window, scale: float) -> NDArray[np.uint8]:
    left, top, right, bottom = window
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    return cv2.resize(part, size, interpolation=way).astype(np.uint8, copy=False)


def _fixed_point(
    size: Sequence[int], window: Window, scale: float
) -> Callable[[NDArray[np.float64]], NDArray[np.int32]]:
    """From normalised points (N, 2) to OpenCV's, which count fractions of a pixel, and from pixel centres."""

    def convert(polygon: NDArray[np.float64]) -> NDArray[np.int32]:
        points: NDArray[np.float64] = (polygon * size - window[:2]) * scale - 0.5
        fixed: NDArray[np.int32] = np.rint(points * 2**_SUBPIXEL).astype(np.int32)
        return fixed.reshape(-1, 1, 2)

    return convert


def _line(canvas: RgbImage, lines: Sequence[NDArray[np.int32]], colour: tuple[int, int, int], width: int) -> None:
    cv2.polylines(canvas, lines, True, colour, width, cv2.LINE_AA, _SUBPIXEL)


def _caption(view: InstanceView, side: int) -> RgbImage:
    strip = Image.new("RGB", (side, 40), _PAPER)
    pen, large, small = ImageDraw.Draw(strip), Lettering(14), Lettering(11)
    large.draw(pen, (2, 2), large.fit(view.title, side - 4), _INK)
    small.draw(pen, (2, 21), small.fit(view.details, side - 4), _SOFT)
    return np.asarray(strip)
