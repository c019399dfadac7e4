"""The segmenter without weights: GrabCut (Rother et al., 2004) from each box, in a crop around it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.annotate._protocols import Box, Image, Mask, Segment
from simpleseg_core.annotate.boxes import box_iou
from simpleseg_core.geometry import mask_box

_MARGIN = 0.2
"""Context around the box that shows what is background, over the box's longer side."""
_MAX_SIDE = 96
"""Crops with a longer side in pixels are shrunk to it: the cost grows with the area, the mask hardly improves."""
_MIN_FILL = 0.3
"""A mask that fills less of its box has most likely collapsed: few objects are that thin."""
_CORE = 0.7
"""Axes of the ellipse that the second attempt takes as certain foreground, over those of the box."""
_MIN_CONTEXT = 16
"""Pixels outside the box without which there is no model of the background."""
_FALLBACK_IOU = 0.1


@dataclass(frozen=True, slots=True)
class _Crop:
    """A window of the image (left, top, right, bottom in pixels), and the box inside it, shrunk, rounded outwards."""

    window: tuple[int, int, int, int]
    pixels: Image
    box: tuple[int, int, int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        left, top, right, bottom = self.window
        return slice(top, bottom), slice(left, right)

    @property
    def box_area(self) -> int:
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class GrabCutSegmenter:
    """One GrabCut for each box, deterministic.

    Where the cut collapses, which on photographs it often does, a second one starts from a certain core; where that
    fails too, the mask is the ellipse inscribed in the box, at low confidence.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.name = f"grabcut/{iterations}"

    def segment(self, image: Image, boxes: Sequence[Box]) -> list[Segment]:
        """Masks of the boxes.

        There is no learned confidence: `predicted_iou` is the IoU of the mask's box with the prompt, `stability` the
        IoU of the masks of the last two iterations.
        """
        return [self._segment(image, box) for box in boxes]

    def _segment(self, image: Image, box: Box) -> Segment:
        crop = _crop(image, box)
        for core in (0.0, _CORE):
            before, after = _cut(crop, self.iterations, core)
            mask = np.zeros(image.shape[:2], bool)
            mask[crop.slices] = _resize(after, crop)
            found = mask_box(mask)
            if found is not None and after.sum() >= _MIN_FILL * crop.box_area:
                union = int((before | after).sum())
                return Segment(mask, box_iou(found.tolist(), box), int((before & after).sum()) / union)
        return Segment(_inscribed(box, image.shape[0], image.shape[1]), _FALLBACK_IOU, 0.0)


def _crop(image: Image, box: Box) -> _Crop:
    height, width = image.shape[:2]
    left, top, right, bottom = (side * size for side, size in zip(box, (width, height, width, height), strict=True))
    margin = max(_MARGIN * max(right - left, bottom - top), 2.0)
    x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
    x1, y1 = min(width, int(np.ceil(right + margin))), min(height, int(np.ceil(bottom + margin)))
    pixels = image[y0:y1, x0:x1]
    scale = min(1.0, _MAX_SIDE / max(pixels.shape[:2]))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    sx, sy = pixels.shape[1] / (x1 - x0), pixels.shape[0] / (y1 - y0)
    inner = (
        max(0, int((left - x0) * sx)),
        max(0, int((top - y0) * sy)),
        min(pixels.shape[1], int(np.ceil((right - x0) * sx))),
        min(pixels.shape[0], int(np.ceil((bottom - y0) * sy))),
    )
    return _Crop((x0, y0, x1, y1), pixels, inner)


def _cut(crop: _Crop, iterations: int, core: float) -> tuple[Mask, Mask]:
    """Foreground of the crop after the last iteration but one and after the last; empty where GrabCut cannot start."""
    labels = _labels(crop, core)
    if int((labels == cv2.GC_BGD).sum()) < _MIN_CONTEXT or crop.box_area < _MIN_CONTEXT:
        return np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    bgr = np.ascontiguousarray(crop.pixels[:, :, ::-1])
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    nowhere = (0, 0, 0, 0)
    # The k-means that starts the colour models draws from OpenCV's global generator.
    cv2.setRNGSeed(0)
    cv2.grabCut(bgr, labels, nowhere, background, foreground, max(1, iterations - 1), cv2.GC_INIT_WITH_MASK)
    before = _foreground(labels)
    if iterations > 1:
        cv2.grabCut(bgr, labels, nowhere, background, foreground, 1, cv2.GC_EVAL)
    return before, _foreground(labels)


def _labels(crop: _Crop, core: float) -> NDArray[np.uint8]:
    """What GrabCut starts from: background outside the box, probably foreground inside, certainly in the core."""
    left, top, right, bottom = crop.box
    labels = np.full(crop.pixels.shape[:2], cv2.GC_BGD, np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    if core > 0:
        centre, axes = ((left + right) / 2, (top + bottom) / 2), ((right - left) * core, (bottom - top) * core)
        cv2.ellipse(labels, (centre, axes, 0.0), cv2.GC_FGD, cv2.FILLED)
    return labels


def _foreground(labels: NDArray[np.uint8]) -> Mask:
    foreground: Mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return foreground


def _resize(mask: Mask, crop: _Crop) -> Mask:
    """The mask at the window's own resolution."""
    left, top, right, bottom = crop.window
    size = (right - left, bottom - top)
    resized: Mask = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    return resized


def _inscribed(box: Box, height: int, width: int) -> Mask:
    """The ellipse inscribed in a box, and at least its middle pixel."""
    left, right, top, bottom = box[0] * width, box[2] * width, box[1] * height, box[3] * height
    rows, columns = np.mgrid[:height, :width] + 0.5
    x = (columns - (left + right) / 2) / max(right - left, 1e-9)
    y = (rows - (top + bottom) / 2) / max(bottom - top, 1e-9)
    mask: Mask = x**2 + y**2 <= 0.25
    mask[min(int((top + bottom) / 2), height - 1), min(int((left + right) / 2), width - 1)] = True
    return mask
