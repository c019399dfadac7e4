"""What a model wrote, vertex by vertex, and the point or box that it was asked about."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.viz._overlay import PREDICTION_COLOUR, TRUTH_COLOUR, RgbImage, add_title, upscale

_FILL = 0.3
_BLACK = (0, 0, 0)


def draw_written(
    image: RgbImage,
    polygons: Sequence[NDArray[np.float64]],
    point: Sequence[float] | None = None,
    box: Sequence[float] | None = None,
    title: str = "",
) -> RgbImage:
    """Draw polygons with every vertex (magenta), and the asked point or box (cyan), on an image.

    Args:
        image: uint8 (H, W, 3) RGB; small images are enlarged.
        polygons: each (N, 2), normalised on pixel edges.
        point: x, y, normalised.
        box: x1, y1, x2, y2, normalised.
        title: caption in a strip above the image; no strip when empty.

    Returns:
        uint8 (h, w, 3) RGB.
    """
    canvas = upscale(image)
    width = max(1, max(canvas.shape[:2]) // 400)
    rings = [_pixels(polygon, canvas) for polygon in polygons]
    _fill(canvas, rings)
    for colour, thickness in ((_BLACK, width + 2), (PREDICTION_COLOUR, width)):
        cv2.polylines(canvas, rings, True, colour, thickness, cv2.LINE_AA)
        for x, y in (vertex for ring in rings for vertex in ring.tolist()):
            cv2.circle(canvas, (x, y), 2 * width + thickness - width, colour, cv2.FILLED, cv2.LINE_AA)
        asked = colour if colour == _BLACK else TRUTH_COLOUR
        if point is not None:
            cv2.drawMarker(canvas, _corner(point, canvas), asked, cv2.MARKER_CROSS, 16 * width, thickness, cv2.LINE_AA)
        if box is not None:
            cv2.rectangle(canvas, _corner(box[:2], canvas), _corner(box[2:], canvas), asked, thickness, cv2.LINE_AA)
    return add_title(canvas, title) if title else canvas


def _fill(canvas: RgbImage, rings: Sequence[NDArray[np.int32]]) -> None:
    inside = np.zeros(canvas.shape[:2], np.uint8)
    for ring in rings:  # one by one: together, parts that overlap would cut holes into each other
        cv2.fillPoly(inside, [ring], 1)
    covered = inside > 0
    canvas[covered] = ((1 - _FILL) * canvas[covered] + _FILL * np.asarray(PREDICTION_COLOUR)).astype(np.uint8)


def _pixels(polygon: NDArray[np.float64], canvas: RgbImage) -> NDArray[np.int32]:
    """Vertices, int32 (N, 2); OpenCV counts from pixel centres, polygons from edges."""
    return np.rint(polygon * canvas.shape[1::-1] - 0.5).astype(np.int32)


def _corner(place: Sequence[float], canvas: RgbImage) -> tuple[int, int]:
    x, y = _pixels(np.array(place), canvas).tolist()
    return x, y
