"""Boxes that came with the data, passed on as they are."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Detector
from simpleseg_core.annotate.detectors import DetectorEngine

if TYPE_CHECKING:
    from simpleseg_core.config import DetectConfig


def _load(config: "DetectConfig") -> Detector:
    from simpleseg_core.annotate.annotations import AnnotationsDetector

    return AnnotationsDetector()


DETECTOR = DetectorEngine(_load, weights=False, reads_text=False, any_phrase=False, takes_boxes=True)
