"""Grounding-DINO in its original implementation; weights from a checkpoint file."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Detector
from simpleseg_core.annotate.detectors import DetectorEngine

if TYPE_CHECKING:
    from simpleseg_core.config import DetectConfig


def _load(config: "DetectConfig") -> Detector:
    from simpleseg_core.annotate.grounding_dino import GroundingDinoPy

    return GroundingDinoPy.load(config)


DETECTOR = DetectorEngine(_load)
