"""Grounding-DINO of transformers; weights by hub id or local folder."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Detector
from simpleseg_core.annotate.detectors import DetectorEngine

if TYPE_CHECKING:
    from simpleseg_core.config import DetectConfig


def _load(config: "DetectConfig") -> Detector:
    from simpleseg_core.annotate.grounding_dino import TransformersGroundingDino

    return TransformersGroundingDino.load(config)


DETECTOR = DetectorEngine(_load)
