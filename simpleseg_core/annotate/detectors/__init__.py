"""The detectors, one file each, found by the name in `detect.engine`: `DETECTOR` says what one can do and loads it.

The configuration asks these files before anything runs, so heavy libraries are imported by what loads, not on top.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Detector
from simpleseg_core.kinds import DETECTORS

if TYPE_CHECKING:
    from simpleseg_core.config import DetectConfig


@dataclass(frozen=True, slots=True)
class DetectorEngine:
    """A value of `detect.engine`."""

    load: "Callable[[DetectConfig], Detector]"
    """The detector as configured, its weights loaded; raises an OSError where they are not there."""
    weights: bool = True
    """Whether `detect.model` names what it loads."""
    reads_text: bool = True
    """Whether it looks for what captions and phrases say."""
    any_phrase: bool = True
    """Whether it looks for whatever it is told, so that `detect.phrases` may name a vocabulary."""
    takes_boxes: bool = False
    """Whether boxes that came with an image stand in for its own."""
    knows: Callable[[str], bool] = lambda phrase: True
    """Whether it can look for a phrase."""
    examples: str = ""
    """What it knows, where that is not everything, as messages say it."""


def build_detector(config: "DetectConfig") -> Detector:
    """The detector `detect.engine`, its weights loaded."""
    return DETECTORS.load(config.engine).load(config)
