"""Masks that the geometry tests share: the plain, the awkward and the random."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import gaussian_filter

from simpleseg_core.geometry import Mask


def disc(height: int, width: int, x: float, y: float, radius: float) -> Mask:
    """Pixels whose centre lies within a circle; all in pixels."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside: Mask = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    return inside


def blob(seed: int, height: int = 48, width: int = 64) -> Mask:
    """A smooth random shape, in one or more parts, with or without holes."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 4, mode="constant")
    smooth: Mask = noise > 0.3 * noise.max()
    return smooth


def awkward() -> dict[str, Mask]:
    """Masks that break outlines: single pixels, lines, stripes, chequers, touching corners, holes, islands, all."""
    zoo = {name: np.zeros((9, 12), bool) for name in ("pixel", "corner", "row", "column", "diagonal", "ring", "island")}
    zoo["pixel"][4, 5] = zoo["corner"][0, 11] = True
    zoo["row"][3] = True
    zoo["column"][:, 7] = True
    zoo["diagonal"][range(9), range(9)] = True
    zoo["ring"][1:8, 1:9] = True
    zoo["ring"][2:7, 2:8] = False
    zoo["island"] |= zoo["ring"]
    zoo["island"][4, 4:6] = True
    rows, columns = np.indices((9, 12))
    holes = np.ones((9, 12), bool)
    holes[1::3, 1::3] = False
    return zoo | {
        "full": np.ones((9, 12), bool),
        "one by one": np.ones((1, 1), bool),
        "chequers": (rows + columns) % 2 == 0,
        "stripes": rows % 2 == 0,
        "bars": columns % 3 == 0,
        "holes": holes,
    }


def masks(max_side: int = 24) -> st.SearchStrategy[Mask]:
    """Any mask of up to `max_side` pixels a side."""
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=max_side)
    return shapes.flatmap(lambda shape: arrays(np.bool_, shape))
