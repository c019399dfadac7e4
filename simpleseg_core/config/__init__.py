"""The configuration: pydantic models of params.yaml; imports neither torch, ray nor vllm."""

from simpleseg_core.config._base import Operational, Section, decisive
from simpleseg_core.config._root import Config
from simpleseg_core.config.annotate import ContourConfig, DescribeConfig, DetectConfig, RunConfig, SegmentConfig
from simpleseg_core.config.data import CocoConfig, DataConfig, FilterConfig, IngestConfig, ReferringConfig, WebConfig
from simpleseg_core.config.dataset import DatasetConfig, Style, Task
from simpleseg_core.config.evaluation import EvaluateConfig, RayConfig, TrackingConfig
from simpleseg_core.config.held_out import HeldOutConfig
from simpleseg_core.config.parts import LoraConfig, RatesConfig, RouterConfig
from simpleseg_core.config.refshapes import RefShapesConfig
from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.config.training import (
    ModelConfig,
    NanoConfig,
    OptimizerConfig,
    Phase,
    PromptFilterConfig,
    RLConfig,
    RolloutConfig,
    TrainConfig,
)

__all__ = [
    "CocoConfig", "Config", "ContourConfig", "DataConfig", "DatasetConfig", "DescribeConfig", "DetectConfig",
    "EvaluateConfig", "FilterConfig", "HeldOutConfig", "IngestConfig", "LoraConfig", "ModelConfig", "NanoConfig",
    "Operational", "OptimizerConfig", "Phase", "PromptFilterConfig", "RLConfig", "RatesConfig", "RayConfig",
    "RefShapesConfig", "ReferringConfig", "RewardConfig", "RolloutConfig", "RouterConfig", "RunConfig", "Section",
    "SegmentConfig", "Style", "Task", "TrackingConfig", "TrainConfig", "WebConfig", "decisive",
]  # fmt: skip
