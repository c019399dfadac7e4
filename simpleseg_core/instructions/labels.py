"""An image with its labels: the objects on it, and the expressions that mean them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from simpleseg_core.config import ContourConfig
from simpleseg_core.geometry import Mask, Polygon, interior_point, mask_box, mask_to_polygons


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One object: its mask, bool (H, W), and what the answers say of it, normalised."""

    phrase: str
    mask: Mask
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    polygons: Sequence[Polygon] | None = None
    """None: traced from the mask when an answer needs them."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A referring expression and the objects it means, as indices into the image's targets; none is a valid answer."""

    expression: str
    targets: tuple[int, ...]
    kind: str = "attribute"
    """What tells the objects apart: attribute, size, position, relation; multiple or none of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Everything that can be asked about one image."""

    targets: Sequence[Target]
    references: Sequence[Reference]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Plural noun phrase -> how many there are."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image of a shard with its labels."""

    image: str
    shard: str
    width: int
    height: int
    phash: str
    """64 bits in hex."""
    source: str
    labels: Labels
    shared: bool = False
    """Whether other sources ask about the same image: its samples are then called by source and image."""
    pixels: str | None = None
    """sha256 of its bytes, where its shard belongs to another stage than the tables."""

    @property
    def view(self) -> Labels:
        """What `labels` was called in 0.1."""
        return self.labels

    @property
    def name(self) -> str:
        """What its samples are called, before their number."""
        return f"{self.source}/{self.image}" if self.shared else self.image

    @property
    def reference(self) -> dict[str, Any]:
        """The columns that name the image in every table."""
        size = {"width": self.width, "height": self.height}
        return {"image": self.image, "shard": self.shard, **size, "pixels": self.pixels}

    def rng(self, seed: int, use: str) -> np.random.Generator:
        """Random numbers of this image for one use, whatever images come before it."""
        return np.random.default_rng([seed, crc32(self.name.encode()), crc32(use.encode())])


def outline(mask: Mask, contour: ContourConfig, rng: np.random.Generator | None = None) -> list[Polygon]:
    """Polygons of a mask as the contour settings want them; `rng` is needed for the order `shuffled` only."""
    return mask_to_polygons(
        mask,
        tolerance=contour.tolerance,
        max_points=contour.max_points,
        holes=contour.holes,
        order=contour.order,
        rng=rng,
    )


def mask_target(phrase: str, mask: Mask) -> Target:
    """A target from its exact mask.

    Raises:
        ValueError: the mask is empty.
    """
    x, y = interior_point(mask).tolist()
    left, top, right, bottom = [0.0] * 4 if (box := mask_box(mask)) is None else box.tolist()
    return Target(phrase, mask, (left, top, right, bottom), (x, y))
