"""SAM of transformers; weights by hub id or local folder."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Segmenter
from simpleseg_core.annotate.segmenters import SegmenterEngine

if TYPE_CHECKING:
    from simpleseg_core.config import SegmentConfig


def _load(config: "SegmentConfig") -> Segmenter:
    from simpleseg_core.annotate.sam import TransformersSam

    return TransformersSam.load(config)


SEGMENTER = SegmenterEngine(_load)
