"""What the data engine's parts are: protocols of detector, segmenter and describer, and the values they exchange."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""xyxy, normalised to [0, 1] on pixel edges."""


@dataclass(frozen=True, slots=True, eq=False)
class CaptionedImage:
    """One image, uint8 (H, W, 3) RGB, with its caption and the annotations that came along, as JSON ("" for none)."""

    image: Image
    caption: str
    annotations: str = ""
    phrases: tuple[str, ...] = ()
    """What Grounding-DINO is to look for, each as a whole; none: what the configuration says."""


Picture = CaptionedImage
"""What `CaptionedImage` was called in 0.1."""


@dataclass(frozen=True, slots=True)
class Detection:
    """An instance of a phrase; the span counts characters of the caption, (-1, -1) where the phrase is not in it."""

    phrase: str
    span: tuple[int, int]
    box: Box
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a promptable segmenter is told of one object: any of a box, points and a rough mask."""

    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    """On the object, (x, y) normalised."""
    outside: tuple[tuple[float, float], ...] = ()
    """Beside the object."""
    mask: Mask | None = None
    """Bool (H, W), of the image's size."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The mask of one box, bool (H, W), and how far the segmenter trusts it, both in [0, 1]."""

    mask: Mask
    predicted_iou: float
    stability: float


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A segmented instance as the describer sees it."""

    phrase: str
    box: Box
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """An image, uint8 (H, W, 3) RGB, with its instances."""

    image: Image
    instances: Sequence[Instance]
    others: Sequence[str] = ()
    """Phrases of what is in the image too and is no instance: crowds, objects without a usable outline."""


@dataclass(frozen=True, slots=True)
class Description:
    """A referring expression and the engine that wrote it."""

    text: str
    source: str
    consistency: float | None = None
    """IoU of the instance's box with the one that the detector found by the text; None where it was not asked."""
    rejected: str = ""
    """Why a text by the model was not used: `unusable` or `inconsistent`."""


class Detector(Protocol):
    """Phrases of captions -> boxes, for a batch of images at once."""

    @property
    def name(self) -> str:
        """Engine and model, kept with every row as provenance."""

    def detect(self, images: Sequence[CaptionedImage]) -> list[list[Detection]]:
        """Detections of each image, best score first."""


class Segmenter(Protocol):
    """Boxes -> masks, all boxes of one image at once."""

    @property
    def name(self) -> str:
        """Engine and model, kept with every row as provenance."""

    def segment(self, image: Image, boxes: Sequence[Box]) -> list[Segment]:
        """One segment for each box, in the same order."""


class Describer(Protocol):
    """Instances -> one referring expression each, for a batch of images at once."""

    @property
    def name(self) -> str:
        """Engine and model, kept with every row as provenance."""

    def describe(self, scenes: Sequence[Annotated]) -> list[list[Description]]:
        """One description for each instance of each image, in the same order."""

    def close(self) -> None:
        """Give back what the engine holds."""
