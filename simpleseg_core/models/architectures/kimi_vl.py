"""Kimi-VL: MoonViT, and DeepSeek-V3's mixture of experts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simpleseg_core.models.architectures._protocol import Architecture, ChatForm

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from simpleseg_core.config import ModelConfig, NanoConfig
    from simpleseg_core.models.kimi_vl.configuration import KimiVLConfig
    from simpleseg_core.models.kimi_vl.modeling import KimiVLForConditionalGeneration
    from simpleseg_core.models.kimi_vl.processing import KimiVLProcessor

_CHAT = ChatForm(
    answer_opening="<|im_assistant|>assistant<|im_middle|>",
    answer_end="<|im_end|>",
    template=(
        "{%- for message in messages -%}"
        "{{- '<|im_' + message['role'] + '|>' + message['role'] + '<|im_middle|>' -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
        "{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'image' -%}"
        "{{- '<|media_start|>image<|media_content|><|media_pad|><|media_end|>' -}}"
        "{%- elif part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}"
        "{{- '<|im_end|>' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_assistant|>assistant<|im_middle|>' -}}{%- endif -%}"
    ),  # without the default system message, which a small model would only have to skip
    special_tokens=(
        "[PAD]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|media_start|>",
        "<|media_content|>", "<|media_end|>", "<|media_pad|>",
    ),
    padding="[PAD]",
)  # fmt: skip


def _image_bounds(min_pixels: int, max_pixels: int) -> dict[str, Any]:
    """The image processor bounds the patches of an image from above, and enlarges none."""
    return {"max_pixels": max_pixels}


def _positions(processor: Any, encoded: "Mapping[str, Tensor]") -> "Tensor":
    """Tokens are counted, of images too, along one axis: (1, B, T)."""
    import torch

    ids = encoded["input_ids"]
    return torch.arange(ids.shape[1]).expand(1, *ids.shape)


@dataclass(frozen=True, slots=True)
class _Forward:
    """The projector's output takes the place of the placeholders; one rotary axis."""

    image_inputs: tuple[str, ...] = ("pixel_values", "image_grid_hws")

    def positions(self, model: Any, encoded: "Mapping[str, Tensor]") -> "Tensor":
        return _positions(None, encoded)

    def image_features(self, model: Any, *images: "Tensor") -> "Tensor":
        features: Tensor = model.image_features(*images)
        return features

    def image_sizes(self, model: Any, *images: "Tensor") -> list[int]:
        rows, columns = model.config.vision_config.merge_kernel_size
        sizes: list[int] = (images[1].prod(-1) // (rows * columns)).tolist()
        return sizes

    def hidden(self, model: Any, ids: "Tensor", positions: "Tensor", features: "Tensor") -> "Tensor":
        # Rows are padded on the right: all count from their start, which needs no saying.
        hidden: Tensor = model.language_model.model(
            inputs_embeds=model.embed(ids, features), use_cache=False
        ).last_hidden_state
        return hidden


def _build(
    config: "ModelConfig", tokenizer: "PreTrainedTokenizerFast"
) -> "tuple[KimiVLForConditionalGeneration, KimiVLProcessor]":
    from simpleseg_core.models.kimi_vl.modeling import KimiVLForConditionalGeneration
    from simpleseg_core.models.kimi_vl.processing import KimiVLImageProcessor, KimiVLProcessor

    images = KimiVLImageProcessor(patch_size=config.nano.patch_size, max_pixels=config.max_pixels)
    processor = KimiVLProcessor(images, tokenizer, chat_template=_CHAT.template)
    return KimiVLForConditionalGeneration(_sizes(config, tokenizer)), processor


def _sizes(config: "ModelConfig", tokenizer: "PreTrainedTokenizerFast") -> "KimiVLConfig":
    from simpleseg_core.models.kimi_vl.configuration import KimiVLConfig

    nano = config.nano
    side = round(config.max_pixels**0.5 / nano.patch_size)
    return KimiVLConfig(
        text_config=_decoder_sizes(nano, tokenizer),
        vision_config={
            "patch_size": nano.patch_size,
            "init_pos_emb_height": side,
            "init_pos_emb_width": side,
            "num_attention_heads": nano.vision_heads,
            "num_hidden_layers": nano.vision_layers,
            "hidden_size": nano.vision_hidden_size,
            "intermediate_size": nano.vision_hidden_size * 3,
            "initializer_range": nano.initializer_range,
        },
        media_placeholder_token_id=tokenizer.get_vocab()["<|media_pad|>"],
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=nano.initializer_range,
    )


def _decoder_sizes(nano: "NanoConfig", tokenizer: "PreTrainedTokenizerFast") -> dict[str, Any]:
    """A dense layer, then experts, as published: two of eight and a shared one, of a quarter of the dense width."""
    head = nano.hidden_size // nano.heads
    return {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": nano.hidden_size,
        "intermediate_size": nano.intermediate_size,
        # vLLM's kernel for CPUs pads to 32, and takes no new weights where it had to.
        "moe_intermediate_size": -(-nano.intermediate_size // 4 // 32) * 32,
        "num_hidden_layers": nano.layers,
        "num_attention_heads": nano.heads,
        "num_key_value_heads": nano.heads,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "q_lora_rank": None,
        "kv_lora_rank": nano.hidden_size // 2,
        "qk_nope_head_dim": head // 2,
        "qk_rope_head_dim": head // 2,
        "v_head_dim": head,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": nano.rope_theta},
        "initializer_range": nano.initializer_range,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }


def _register() -> None:
    from simpleseg_core.models.kimi_vl.registration import register

    register()


ARCHITECTURE = Architecture(
    name="kimi_vl",
    model_types=("kimi_vl",),
    chat=_CHAT,
    blocks=("vision_tower.encoder.blocks", "language_model.model.layers"),
    vision="vision_tower",
    projector=("multi_modal_projector",),
    image_bounds=_image_bounds,
    positions=_positions,
    forward=_Forward(),
    build=_build,
    experts=True,
    register=_register,
)
