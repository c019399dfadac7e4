"""The describers, one file each, found by the name in `describe.engine`: `DESCRIBER` says what one can do and loads it.

The configuration asks these files before anything runs, so heavy libraries are imported by what loads, not on top.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Describer, Detector
from simpleseg_core.annotate.detectors import build_detector
from simpleseg_core.kinds import DESCRIBERS

if TYPE_CHECKING:
    from simpleseg_core.config import DescribeConfig, DetectConfig


@dataclass(frozen=True, slots=True)
class DescriberEngine:
    """A value of `describe.engine`."""

    load: "Callable[[DescribeConfig, Detector | None], Describer]"
    """The describer as configured, its weights loaded; the detector checks what it writes, where that is asked for."""
    weights: bool = True
    """Whether a model, `describe.model`, writes: what it says is checked, and may be rejected."""


def build_describer(config: "DescribeConfig", detect: "DetectConfig") -> Describer:
    """The describer `describe.engine`, its weights loaded; the detector `detect` checks what it writes.

    Raises:
        ValueError: the detector looks at no text, so that it cannot check any.
    """
    if config.is_checked and not detect.reads_text:
        raise ValueError(
            f"describe.min_consistency: detect.engine is {detect.engine}, which looks at no text: choose another "
            "engine, or set the bound to 0"
        )
    return DESCRIBERS.load(config.engine).load(config, build_detector(detect) if config.is_checked else None)
