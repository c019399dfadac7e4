"""The values of a RefShapes scene: its objects, its queries, the image."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.refshapes._expressions import Expression

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ShapeObject:
    """One shape as it is seen: what other objects hide of it is in none of the fields but `radius`.

    `mask` is bool (H, W); `box` (xyxy), `point` (well inside the mask) and `center` (centroid of the mask) are
    normalised to [0, 1] on pixel edges; `radius` is that of the circumscribed circle over the image side.
    """

    color: str
    shape: str
    size: str | None
    """"small" or "big" where the scene makes it plain, else None."""
    mask: Mask = field(repr=False)
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    center: tuple[float, float]
    radius: float
    area: float
    """Visible share of the image."""
    occluded: bool
    parts: int
    holes: int


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A referring expression, the objects it means (indices into the scene's), the union of their masks (H, W)."""

    expression: str
    kind: str
    mask: Mask = field(repr=False)
    targets: tuple[int, ...]
    structure: Expression


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An RGB image uint8 (H, W, 3), its objects from back to front, and distinct queries about them."""

    image: NDArray[np.uint8] = field(repr=False)
    objects: tuple[ShapeObject, ...]
    queries: tuple[Query, ...]
