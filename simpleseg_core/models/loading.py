"""Reading and writing Hugging Face checkpoints: safetensors only, remote code only where the configuration says so by
name."""

from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from simpleseg_core.config import ModelConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(path: str | Path, config: ModelConfig) -> PreTrainedModel:
    """The model of a local folder or hub id, in `config.dtype`, on the CPU.

    Raises:
        OSError: no such folder or hub id, or no safetensors in it.
    """
    model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
        str(path), dtype=DTYPES[config.dtype], use_safetensors=True, trust_remote_code=config.trust_remote_code
    )
    return model


def load_processor(path: str | Path, config: ModelConfig) -> ProcessorMixin:
    """The processor beside a model; Qwen's gets the configuration's bounds on image area, Kimi-VL's keeps its own."""
    area = {"shortest_edge": config.min_pixels, "longest_edge": config.max_pixels}
    bounds = {"size": area} if config.architecture == "qwen2_5_vl" else {}
    processor: ProcessorMixin = AutoProcessor.from_pretrained(
        str(path), trust_remote_code=config.trust_remote_code, **bounds
    )
    processor.tokenizer.padding_side = "right"
    return processor


def save_checkpoint(
    model: PreTrainedModel, processor: ProcessorMixin, folder: Path, state: dict[str, Any] | None = None
) -> None:
    """Write an ordinary HF checkpoint, whole or not at all; `state` replaces the model's own weights (gathered
    shards)."""
    temporary = folder.with_name(folder.name + ".tmp")
    rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model.save_pretrained(temporary, state_dict=state)
    processor.save_pretrained(temporary)
    rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
