"""A multimodal model that is shown each instance and asked through vLLM what to call it."""

from typing import TYPE_CHECKING

from simpleseg_core.annotate._protocols import Describer, Detector
from simpleseg_core.annotate.describers import DescriberEngine

if TYPE_CHECKING:
    from simpleseg_core.config import DescribeConfig


def _load(config: "DescribeConfig", detector: Detector | None) -> Describer:
    from simpleseg_core.annotate.describe_vlm import VlmDescriber

    return VlmDescriber.load(config, detector)


DESCRIBER = DescriberEngine(_load)
