"""Benchmarks, the report, and where runs are tracked."""

from typing import Literal

from pydantic import Field

from simpleseg_core.config._base import Section


class EvaluateConfig(Section):
    """Greedy decoding of every benchmark query by every model."""

    engine: Literal["vllm", "transformers"] = "vllm"
    models: tuple[Literal["base", "sft", "rl"], ...] = ("base", "sft", "rl")
    max_tokens: int = Field(200, gt=0)
    """Tokens of one answer."""
    max_length: int = Field(1024, gt=0)
    """Tokens of one query, its image and its answer together."""
    max_num_seqs: int = Field(64, gt=0)
    kv_cache_mib: int = Field(128, gt=0)
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    tensor_parallel: int = Field(1, gt=0)
    """GPUs that share one model."""
    constrained: bool = False
    """Restrict decoding to the answer grammar."""
    bootstrap_samples: int = Field(2000, gt=0)
    overlays: int = Field(4, gt=0)
    """Overlays drawn of each of best, median and worst."""


class TrackingConfig(Section):
    """MLflow."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "simpleseg"
    system_metrics: bool = True


class RayConfig(Section):
    """How Ray starts."""

    address: str | None = None
    """Address of a running cluster; unset: a local one starts by itself."""
    num_cpus: int | None = Field(None, gt=0)
    object_store_mib: int = Field(200, ge=80)
