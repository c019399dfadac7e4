"""The segmenters, one file each, found by the name in `segment.engine`: `SEGMENTER` says what one can do and loads it.

The configuration asks these files before anything runs, so heavy libraries are imported by what loads, not on top.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Segmenter
from simpleseg_core.kinds import SEGMENTERS

if TYPE_CHECKING:
    from simpleseg_core.annotate.clip import Clip
    from simpleseg_core.config import SegmentConfig


@dataclass(frozen=True, slots=True)
class SegmenterEngine:
    """A value of `segment.engine`."""

    load: "Callable[[SegmentConfig], Segmenter]"
    """The segmenter as configured, its weights loaded; raises an OSError where they are not there."""
    weights: bool = True
    """Whether `segment.model` names what it loads."""
    promptable: bool = True
    """Whether `segment.prompt` may be anything but a box."""


def build_segmenter(config: "SegmentConfig") -> Segmenter:
    """The segmenter `segment.engine`, its weights loaded."""
    return SEGMENTERS.load(config.engine).load(config)


def build_clip(config: "SegmentConfig") -> "Clip | None":
    """The model `segment.clip`, its weights loaded; None where none is named."""
    if config.clip is None:
        return None
    from simpleseg_core.annotate.clip import Clip

    return Clip.load(config.clip, config.device, config.batch_size)
