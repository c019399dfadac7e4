"""The shapes of RefShapes as rings of points in the unit disc, and the colours they come in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 160, 70),
    "blue": (45, 85, 215),
    "yellow": (245, 215, 50),
    "purple": (145, 55, 175),
    "orange": (245, 130, 25),
    "white": (245, 245, 245),
    "black": (24, 24, 28),
}
"""Colour word -> RGB."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A shape: rings (P, 2) in the unit disc, filled by the even-odd rule; `turn`: its freedom each way, in degrees."""

    rings: tuple[Ring, ...]
    turn: float
    parts: int = 1
    holes: int = 0


def _arc(radius: float, start: float, stop: float, points: int, centre: tuple[float, float] = (0.0, 0.0)) -> Ring:
    angles = np.radians(np.linspace(start, stop, points))
    ring: Ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + np.array(centre)
    return ring


def _disc(radius: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)) -> Ring:
    return _arc(radius, 0, 360, 49, centre)[:-1]


def _regular(points: int, start: float) -> Ring:
    return _arc(1.0, start, start + 360, points + 1)[:-1]


def _star(inner: float = 0.45) -> Ring:
    ring = _regular(10, -90)
    ring[1::2] *= inner
    return ring


def _cross(arm: float = 0.34) -> Ring:
    reach = float(np.sqrt(1 - arm**2))
    corner = np.array([[arm, -reach], [arm, -arm], [reach, -arm]])
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter, turn) for turn in range(4)])


def _crescent(offset: float = 0.55, bite: float = 0.85) -> Ring:
    """The unit disc without a second disc of radius `bite` whose centre lies `offset` to the right."""
    x = (1 - bite**2 + offset**2) / (2 * offset)
    y = float(np.sqrt(1 - x**2))
    outer = float(np.degrees(np.arctan2(y, x)))
    inner = float(np.degrees(np.arctan2(y, x - offset)))
    return np.concatenate([_arc(1.0, outer, 360 - outer, 40), _arc(bite, 360 - inner, inner, 30, (offset, 0.0))])


OUTLINES: dict[str, Outline] = {
    "circle": Outline((_disc(),), 0),
    "square": Outline((_regular(4, 45),), 15),
    "triangle": Outline((_regular(3, -90),), 180),
    "diamond": Outline((_regular(4, 0) * np.array([0.62, 1.0]),), 12),
    "oval": Outline((_disc() * np.array([1.0, 0.56]),), 180),
    "star": Outline((_star(),), 180),
    "cross": Outline((_cross(),), 18),
    "crescent": Outline((_crescent(),), 180),
    "ring": Outline((_disc(), _disc(0.52)), 0, holes=1),
    "dots": Outline((_disc(0.42, (-0.58, 0.0)), _disc(0.42, (0.58, 0.0))), 180, parts=2),
}
"""Shape word -> outline. The first five are convex."""

COLORS: tuple[str, ...] = tuple(PALETTE)
CONVEX: tuple[str, ...] = tuple(OUTLINES)[:5]
INTRICATE: tuple[str, ...] = tuple(OUTLINES)[5:]
"""Concave, with a hole, or in two parts."""
SHAPES: tuple[str, ...] = CONVEX + INTRICATE
