"""The detector's phrase, made unambiguous by size or position where several share it: no weights."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Describer, Detector
from simpleseg_core.annotate.describers import DescriberEngine

if TYPE_CHECKING:
    from simpleseg_core.config import DescribeConfig


def _load(config: "DescribeConfig", detector: Detector | None) -> Describer:
    from simpleseg_core.annotate.describe import CaptionDescriber

    return CaptionDescriber()


DESCRIBER = DescriberEngine(_load, weights=False)
