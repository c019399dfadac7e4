"""Masks drawn on an image: a light fill, a bright outline with a dark halo, and a caption above."""

from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

# Cyan and magenta: told apart by every kind of colour vision, and rare in scenes and photographs.
TRUTH_COLOUR = (0, 207, 232)
PREDICTION_COLOUR = (255, 45, 149)

_DISPLAY_SIDE = 288
_FILL = 0.3
_LONGEST = 400
"""Characters of a caption that are looked at."""
_PAPER = (250, 250, 250)
_INK = (30, 34, 40)


def upscale(image: Picture, side: int = _DISPLAY_SIDE) -> Picture:
    """Enlarge a small picture by a whole factor, pixels kept square, until its longer side has at least `side`."""
    factor = max(1, -(-side // max(image.shape[:2])))
    return np.ascontiguousarray(image.repeat(factor, axis=0).repeat(factor, axis=1))


def draw_overlay(
    image: Picture, truth: NDArray[np.bool_] | None = None, prediction: NDArray[np.bool_] | None = None, title: str = ""
) -> Picture:
    """Draw a true mask (cyan) and a predicted mask (magenta), each optional, on an image.

    Args:
        image: uint8 (H, W, 3) RGB; small images are enlarged.
        truth: bool (H, W).
        prediction: bool (H, W).
        title: caption in a strip above the image; no strip when empty.

    Returns:
        uint8 (h, w, 3) RGB.

    Raises:
        ValueError: a mask's shape differs from the image's.
    """
    canvas = upscale(image)
    for name, mask, colour in (("truth", truth, TRUTH_COLOUR), ("prediction", prediction, PREDICTION_COLOUR)):
        if mask is None:
            continue
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"{name} mask has shape {mask.shape}, its image {image.shape[:2]}: decode both at the same size"
            )
        canvas = _draw_mask(canvas, mask, colour)
    return add_title(canvas, title) if title else canvas


def _draw_mask(canvas: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> Picture:
    factor = canvas.shape[0] // mask.shape[0]
    large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
    canvas = canvas.copy()
    canvas[large] = ((1 - _FILL) * canvas[large] + _FILL * np.asarray(colour)).astype(np.uint8)
    outlines, _ = cv2.findContours(large.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    width = 2 * max(1, max(canvas.shape[:2]) // 500)
    cv2.drawContours(canvas, outlines, -1, (0, 0, 0), width + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, outlines, -1, colour, width, cv2.LINE_AA)
    return canvas


def add_title(picture: Picture, title: str) -> Picture:
    """The picture with a caption strip above; a caption too long for the width ends in an ellipsis."""
    size = int(np.clip(picture.shape[1] // 26, 12, 18))
    strip = Image.new("RGB", (picture.shape[1], 2 * size), _PAPER)
    font = _font(size)
    ImageDraw.Draw(strip).text((size // 2, size // 3), _fit(title, font, picture.shape[1] - size), fill=_INK, font=font)
    return np.concatenate([np.asarray(strip), picture])


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    # Captions of the web hold control characters, which the text layout dies of.
    text = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST])
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The font that matplotlib ships: no system font is needed, and it covers Latin, Greek and Cyrillic.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
