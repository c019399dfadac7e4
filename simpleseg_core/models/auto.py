"""Reading checkpoints through transformers' Auto classes, which are told of our own models first.

Told at every reading: an engine of vLLM's that opens puts its own configuration in the place of ours.
"""

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from simpleseg_core.kinds import ARCHITECTURES


def _register() -> None:
    for name in ARCHITECTURES.names():
        ARCHITECTURES.load(name).register()


def read_config(path: str | Path, trust_remote_code: bool = False) -> PreTrainedConfig:
    """`config.json` of a local folder or hub id."""
    _register()
    config: PreTrainedConfig = AutoConfig.from_pretrained(str(path), trust_remote_code=trust_remote_code)
    return config


def read_tokenizer(path: str | Path, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a local folder or hub id."""
    _register()
    return AutoTokenizer.from_pretrained(str(path), trust_remote_code=trust_remote_code)


def read_processor(path: str | Path, trust_remote_code: bool = False, **options: Any) -> ProcessorMixin:
    """The processor of a local folder or hub id, with other options than its files say."""
    _register()
    processor: ProcessorMixin = AutoProcessor.from_pretrained(str(path), trust_remote_code=trust_remote_code, **options)
    return processor


def read_model(path: str | Path, trust_remote_code: bool = False, **options: Any) -> PreTrainedModel:
    """The model of a local folder or hub id, on the CPU; safetensors only.

    Raises:
        OSError: no such folder or hub id, or no safetensors in it.
    """
    _register()
    model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
        str(path), use_safetensors=True, trust_remote_code=trust_remote_code, **options
    )
    return model
