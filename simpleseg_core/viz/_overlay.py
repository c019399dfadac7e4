"""Masks drawn on an image: a light fill, a bright outline with a dark halo, and a caption above."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from simpleseg_core.viz._lettering import Lettering

RgbImage = NDArray[np.uint8]
"""(H, W, 3), RGB."""

# Cyan and magenta: told apart by every kind of colour vision, and rare in scenes and photographs.
TRUTH_COLOUR = (0, 207, 232)
PREDICTION_COLOUR = (255, 45, 149)

_DISPLAY_SIDE = 288
_FILL = 0.3
_PAPER = (250, 250, 250)
_INK = (30, 34, 40)


def upscale(image: RgbImage, side: int = _DISPLAY_SIDE) -> RgbImage:
    """Enlarge a small picture by a whole factor, pixels kept square, until its longer side has at least `side`."""
    factor = max(1, -(-side // max(image.shape[:2])))
    return np.ascontiguousarray(image.repeat(factor, axis=0).repeat(factor, axis=1))


def draw_overlay(
    image: RgbImage,
    truth: NDArray[np.bool_] | None = None,
    prediction: NDArray[np.bool_] | None = None,
    title: str = "",
) -> RgbImage:
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


def _draw_mask(canvas: RgbImage, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> RgbImage:
    factor = canvas.shape[0] // mask.shape[0]
    large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
    canvas = canvas.copy()
    canvas[large] = ((1 - _FILL) * canvas[large] + _FILL * np.asarray(colour)).astype(np.uint8)
    outlines, _ = cv2.findContours(large.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    width = 2 * max(1, max(canvas.shape[:2]) // 500)
    cv2.drawContours(canvas, outlines, -1, (0, 0, 0), width + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, outlines, -1, colour, width, cv2.LINE_AA)
    return canvas


def add_title(picture: RgbImage, title: str) -> RgbImage:
    """The picture with a caption strip above; a caption too long for the width ends in an ellipsis."""
    size = int(np.clip(picture.shape[1] // 26, 12, 18))
    strip = Image.new("RGB", (picture.shape[1], 2 * size), _PAPER)
    letters = Lettering(size)
    text = letters.fit(title, picture.shape[1] - size)
    letters.draw(ImageDraw.Draw(strip), (size // 2, size // 3), text, _INK)
    return np.concatenate([np.asarray(strip), picture])
