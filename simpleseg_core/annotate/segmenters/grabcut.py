"""GrabCut from each box: no weights."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Segmenter
from simpleseg_core.annotate.segmenters import SegmenterEngine

if TYPE_CHECKING:
    from simpleseg_core.config import SegmentConfig


def _load(config: "SegmentConfig") -> Segmenter:
    from simpleseg_core.annotate.grabcut import GrabCutSegmenter

    return GrabCutSegmenter(config.grabcut_iterations)


SEGMENTER = SegmenterEngine(_load, weights=False, promptable=False)
