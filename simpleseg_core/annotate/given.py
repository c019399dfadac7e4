"""The detector that passes on boxes that came with the data."""

import json
from collections.abc import Sequence
from typing import Any

from simpleseg_core.annotate._protocols import Detection, Picture


class AnnotationsDetector:
    """Reads the ingest column `annotations`: a JSON list of {"phrase", "box", ...} with normalised xyxy boxes.

    An entry with `crowd` set stands for many objects at once and is passed over.
    """

    name = "annotations"

    def detect(self, pictures: Sequence[Picture]) -> list[list[Detection]]:
        """The given boxes with score 1, in their order.

        Raises:
            ValueError: the JSON is not such a list; it names the cure.
        """
        return [
            [_detection(item, picture.caption) for item in _items(picture.annotations) if not _is_crowd(item)]
            for picture in pictures
        ]


def _items(text: str) -> list[Any]:
    try:
        items = json.loads(text or "[]")
    except json.JSONDecodeError as error:
        raise ValueError(
            f"annotations are not JSON ({error}): write a list of {{phrase, box}} or choose another detect.engine"
        ) from error
    if not isinstance(items, list):
        raise ValueError(f"annotations are a JSON {type(items).__name__}: write a list of {{phrase, box}}")
    return items


def _is_crowd(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.get("crowd"))


def _detection(item: Any, caption: str) -> Detection:
    try:
        left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in item["box"])
        phrase = str(item["phrase"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"annotation {item!r} is not {{phrase, box: [x0, y0, x1, y1]}} ({error}): correct the metadata"
        ) from error
    start = caption.lower().find(phrase.lower())
    span = (start, start + len(phrase)) if start >= 0 else (-1, -1)
    return Detection(phrase, span, (left, top, right, bottom), 1.0)
