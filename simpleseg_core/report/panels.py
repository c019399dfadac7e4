"""Pictures of the page as SVG: an image stored once, and outlines over it that stay sharp at any size."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.shards import ImageStore, encode_jpeg
from simpleseg_core.geometry import mask_to_polygons
from simpleseg_core.grammar import Style, parse_polygons

_MAX_SIDE = 480
"""Larger photographs are stored smaller: the page has to stay light."""


@dataclass(frozen=True, slots=True)
class PageImage:
    """An image stored in the page, and its size in pixels."""

    name: str
    width: int
    height: int
    data: str
    """Data URI."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One prediction, ready to be drawn."""

    frame: PageImage
    expression: str
    kind: str
    truth: str
    """SVG path, in pixels of the frame."""
    prediction: str
    vertices: str
    """SVG path of zero-length lines, one at each point that the model wrote."""
    iou: float
    valid: bool
    error: str
    answer: str
    tokens: int | None
    targets: int


@dataclass(slots=True)
class Album:
    """Frames of a page, each image once however often it is shown."""

    images: ImageStore
    style: Style | None = None
    """That the prompts asked for."""
    max_side: int = _MAX_SIDE
    frames: dict[tuple[str, str], PageImage] = field(default_factory=dict)

    def shot(self, row: Mapping[str, Any]) -> Shot:
        """A PREDICTIONS row as a picture."""
        frame = self.frame(row["shard"], row["image"])
        parsed = parse_polygons(row["answer"], style=self.style)
        truth = mask_to_polygons(row_mask(row), tolerance=0)
        return Shot(
            frame=frame,
            expression=row["expression"],
            kind=row["kind"],
            truth=outline_path(truth, frame),
            prediction=outline_path(parsed.polygons, frame),
            vertices=vertex_path(parsed.polygons, frame),
            iou=row["iou"],
            valid=row["valid"],
            error=row["error"] or "",
            answer=row["answer"],
            tokens=row["tokens"],
            targets=row["targets"],
        )

    def frame(self, shard: str, key: str) -> PageImage:
        """An image of a shard, stored in the page when it is first asked for."""
        if (shard, key) not in self.frames:
            picture = self.images.read(shard, key)
            picture.thumbnail((self.max_side, self.max_side))
            data = b64encode(encode_jpeg(np.asarray(picture), quality=90)).decode("ascii")
            name = f"image-{len(self.frames)}"
            self.frames[shard, key] = PageImage(name, *picture.size, f"data:image/jpeg;base64,{data}")
        return self.frames[shard, key]


def outline_path(polygons: Sequence[NDArray[np.float64]], frame: PageImage) -> str:
    """Closed outlines (each (N, 2), normalised) in pixels of the frame."""
    return "".join(f"M{'L'.join(_pixels(polygon, frame))}Z" for polygon in polygons if len(polygon))


def vertex_path(polygons: Sequence[NDArray[np.float64]], frame: PageImage) -> str:
    """A dot at each vertex: round caps make points of lines without length."""
    return "".join(f"M{point}h0" for polygon in polygons for point in _pixels(polygon, frame))


def _pixels(polygon: NDArray[np.float64], frame: PageImage) -> list[str]:
    return [f"{x:.5g} {y:.5g}" for x, y in polygon * (frame.width, frame.height)]
