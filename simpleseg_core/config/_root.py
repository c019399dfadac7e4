"""The whole of params.yaml as one model, and how it is read, overlaid and written."""

from typing import Self

from pydantic import Field, model_validator

from simpleseg_core.config._base import Section
from simpleseg_core.config._combinations import impossible
from simpleseg_core.config.annotate import ContourConfig, DescribeConfig, DetectConfig, SegmentConfig
from simpleseg_core.config.data import DataConfig, IngestConfig
from simpleseg_core.config.dataset import DatasetConfig
from simpleseg_core.config.evaluation import EvaluateConfig, RayConfig, TrackingConfig
from simpleseg_core.config.training import ModelConfig, RLConfig, TrainConfig


class Config(Section):
    """Everything a run depends on."""

    profile: str = "nano"
    """Name of the profile this file was written from; informational."""
    seed: int = Field(0, ge=0, lt=2**32)
    data: DataConfig = DataConfig()
    ingest: IngestConfig = IngestConfig()
    detect: DetectConfig = DetectConfig()
    segment: SegmentConfig = SegmentConfig()
    contour: ContourConfig = ContourConfig()
    describe: DescribeConfig = DescribeConfig()
    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    pretrain: TrainConfig = TrainConfig()
    sft: TrainConfig = TrainConfig()
    rl: RLConfig = RLConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tracking: TrackingConfig = TrackingConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _works_together(self) -> Self:
        if faults := list(impossible(self)):
            raise ValueError("\n".join(faults))
        return self
