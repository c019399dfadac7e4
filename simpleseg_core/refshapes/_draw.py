"""Rasterises RefShapes: coverage of one shape, backgrounds of bounded contrast, and their composition."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.refshapes._outlines import OUTLINES

Coverage = NDArray[np.float32]

_SUPERSAMPLING = 4
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class PlacedShape:
    """Where a shape goes; `x`, `y` and `radius` over the image side, `turn` in degrees."""

    shape: str
    color: str
    rgb: tuple[float, float, float]
    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True, slots=True, eq=False)
class Stencil:
    """How much of each pixel of a window a shape covers, float32 in [0, 1]; `left`, `top`: its corner in pixels."""

    left: int
    top: int
    coverage: Coverage

    @property
    def window(self) -> tuple[slice, slice]:
        """The window as (rows, columns) of the image."""
        height, width = self.coverage.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def stencil(placement: PlacedShape, side: int) -> Stencil:
    """Coverage of a shape in an image of `side` pixels, by area from a supersampled fill."""
    radius = placement.radius * side
    low = [max(0, int(np.floor(c * side - radius))) for c in (placement.x, placement.y)]
    high = [min(side, int(np.ceil(c * side + radius))) for c in (placement.x, placement.y)]
    width, height = high[0] - low[0], high[1] - low[1]
    angle = np.radians(placement.turn)
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * radius
    shift = np.array([placement.x * side - low[0], placement.y * side - low[1]])
    # OpenCV counts from pixel centres, we count from pixel edges.
    rings = [
        np.rint((((ring @ spin) + shift) * _SUPERSAMPLING - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
        for ring in OUTLINES[placement.shape].rings
    ]
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), np.float32)
    cv2.fillPoly(fine, rings, 1.0, shift=_SUBPIXEL_BITS)
    coverage = np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    return Stencil(low[0], low[1], coverage)


def paint(image: NDArray[np.float32], shape: Stencil, rgb: tuple[float, float, float]) -> None:
    """Blend a shape into a float RGB image (H, W, 3) in place."""
    window = image[shape.window]
    alpha = shape.coverage[:, :, None]
    window += alpha * (np.array(rgb, np.float32) - window)
