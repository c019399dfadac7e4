"""The detector that passes on boxes that came with the data."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from simpleseg_core.annotate._protocols import CaptionedImage, Detection
from simpleseg_core.data.foreign import Flag, Name, Real, checked

_SLACK = 0.001
"""By which a side may pass the border of the image, as rounding leaves it."""
_CURE = "write a list of {phrase, box: [left, top, right, bottom]} with sides in 0..1"


@dataclass(frozen=True, slots=True)
class GivenBox:
    """An object that somebody has found; the box is xyxy, normalised."""

    phrase: Name
    box: Annotated[list[Real], Field(min_length=4, max_length=4)]
    crowd: Flag = False
    """Whether it stands for many objects at once."""


_BOXES = TypeAdapter(list[GivenBox])


def read_boxes(text: str, name: str = "annotations") -> list[GivenBox]:
    """The boxes in a JSON list, without crowds; none for an empty text.

    Args:
        name: what errors call the text.

    Raises:
        ValueError: not such a list, or a box that is not in 0..1 with its left before its right and its top before its
            bottom; names the entry and the cure.
    """
    given = [item for item in _entries(text, name) if not item.crowd]
    for item in given:
        left, top, right, bottom = item.box
        if min(left, top) < -_SLACK or max(right, bottom) > 1 + _SLACK:
            raise ValueError(f"{name}: the box {item.box} of `{item.phrase}` is not in 0..1: {_CURE}, not in pixels")
        if left >= right or top >= bottom:
            raise ValueError(f"{name}: the box {item.box} of `{item.phrase}` holds nothing: {_CURE}, in this order")
    return given


def phrases_beside(kept: Iterable[str], text: str) -> list[str]:
    """Phrases of annotated objects that are not among those kept: crowds, and what has no usable outline.

    Args:
        kept: a phrase for each object that was kept.
        text: the annotations, as for `read_boxes`.

    Raises:
        ValueError: not a list of boxes.
    """
    annotated = Counter(item.phrase for item in _entries(text, "annotations"))
    return list((annotated - Counter(kept)).elements())


def _entries(text: str, name: str) -> list[GivenBox]:
    try:
        items = json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} are not JSON ({error}): {_CURE}, or choose another detect.engine") from error
    if not isinstance(items, list):
        raise ValueError(f"{name} are a JSON {type(items).__name__}: {_CURE}")
    return checked(_BOXES, items, name, "boxes")


class AnnotationsDetector:
    """Reads the ingest column `annotations`: a JSON list of {"phrase", "box", ...} with normalised xyxy boxes.

    An entry with `crowd` set stands for many objects at once and is passed over.
    """

    name = "annotations"

    def detect(self, images: Sequence[CaptionedImage]) -> list[list[Detection]]:
        """The given boxes with score 1, in their order.

        Raises:
            ValueError: as `read_boxes`.
        """
        return [[_detection(item, image.caption) for item in read_boxes(image.annotations)] for image in images]


def _detection(item: GivenBox, caption: str) -> Detection:
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in item.box)
    start = caption.lower().find(item.phrase.lower())
    span = (start, start + len(item.phrase)) if start >= 0 else (-1, -1)
    return Detection(item.phrase, span, (left, top, right, bottom), 1.0)
