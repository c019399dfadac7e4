"""Reading and writing Hugging Face checkpoints: safetensors only, remote code only where the configuration says so by
name."""

from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin
from transformers.core_model_loading import revert_weight_conversion

from simpleseg_core.config import ModelConfig
from simpleseg_core.files import flush
from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.attention import attend_by_length
from simpleseg_core.models.auto import read_model, read_processor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(path: str | Path, config: ModelConfig) -> PreTrainedModel:
    """The model of a local folder or hub id, in `config.dtype`, on the CPU.

    Raises:
        OSError: no such folder or hub id, or no safetensors in it.
    """
    how = {"dtype": DTYPES[config.dtype], "attn_implementation": config.attention}
    model = read_model(path, config.trust_remote_code, **how)
    attend_by_length(model)
    return model


def load_processor(path: str | Path, config: ModelConfig) -> ProcessorMixin:
    """The processor beside a model, with the configuration's bounds on image area."""
    bounds = architecture(config.architecture).image_bounds(config.min_pixels, config.max_pixels)
    processor = read_processor(path, config.trust_remote_code, **bounds)
    processor.tokenizer.padding_side = "right"
    return processor


def checkpoint_state(model: PreTrainedModel, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's weights under the names of its checkpoints, as engines know them: experts one by one."""
    named: dict[str, torch.Tensor] = revert_weight_conversion(model, state)
    return named


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
    flush(temporary)
    rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
