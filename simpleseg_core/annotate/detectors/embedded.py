"""The shapes of RefShapes, found by colour and template: no weights. Boxes that came with the data are better still."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Detector
from simpleseg_core.annotate.detectors import DetectorEngine

if TYPE_CHECKING:
    from simpleseg_core.config import DetectConfig


def _load(config: "DetectConfig") -> Detector:
    from simpleseg_core.annotate.shapes import ShapeDetector

    return ShapeDetector(config.box_threshold)


def _knows(phrase: str) -> bool:
    from simpleseg_core.annotate.shapes import knows

    return knows(phrase)


DETECTOR = DetectorEngine(
    _load, weights=False, any_phrase=False, takes_boxes=True, knows=_knows, examples="shapes such as `red circle`"
)
