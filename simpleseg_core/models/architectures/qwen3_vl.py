"""Qwen3-VL, dense: features of inner layers of the vision tower are added to the first layers of the decoder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration
    from transformers import Qwen3VLProcessor as Processor

    from simpleseg_core.config import ModelConfig


@dataclass(frozen=True, slots=True)
class _DeepstackForward:
    """A placeholder stands for (1 + D) H values: what takes its place, then what D layers of the decoder add there."""

    _plain: QwenForward = field(default_factory=QwenForward)

    @property
    def image_inputs(self) -> tuple[str, ...]:
        return self._plain.image_inputs

    def positions(self, model: Any, encoded: "Mapping[str, Tensor]") -> "Tensor":
        return self._plain.positions(model, encoded)

    def image_sizes(self, model: Any, *images: "Tensor") -> list[int]:
        return self._plain.image_sizes(model, *images)

    def image_features(self, model: Any, *images: "Tensor") -> "Tensor":
        import torch

        found = model.model.get_image_features(*images, return_dict=True)
        return torch.cat([torch.cat(parts) for parts in (found.pooler_output, *found.deepstack_features)], dim=-1)

    def hidden(self, model: Any, ids: "Tensor", positions: "Tensor", features: "Tensor") -> "Tensor":
        embeds = model.get_input_embeddings()(ids)
        placeholders = ids == model.config.image_token_id
        first, *deeper = features.to(embeds.dtype).split(embeds.shape[-1], dim=-1)
        hidden: Tensor = model.model.language_model(
            inputs_embeds=embeds.masked_scatter(placeholders[..., None], first),
            position_ids=positions,
            visual_pos_masks=placeholders,
            deepstack_visual_embeds=deeper,
            use_cache=False,
        ).last_hidden_state
        return hidden


def _build(
    config: "ModelConfig", tokenizer: "PreTrainedTokenizerFast"
) -> "tuple[Qwen3VLForConditionalGeneration, Processor]":
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor, Qwen3VLVideoProcessor

    model = Qwen3VLForConditionalGeneration(_sizes(config, tokenizer))
    return model, nano_processor(config, tokenizer, Qwen3VLProcessor, Qwen3VLVideoProcessor)


def _sizes(config: "ModelConfig", tokenizer: "PreTrainedTokenizerFast") -> "Qwen3VLConfig":
    from transformers import Qwen3VLConfig

    nano = config.nano
    head = nano.hidden_size // nano.heads
    third = head // 2 // 3
    rope = {
        "rope_type": "default",
        "rope_theta": nano.rope_theta,
        # Frequencies are dealt to the axes in turn, so the shares of height and width are a third at most.
        "mrope_section": [head // 2 - 2 * third, third, third],
        "mrope_interleaved": True,
    }
    features = {
        "num_position_embeddings": round(config.max_pixels**0.5 / nano.patch_size) ** 2,
        "deepstack_visual_indexes": list(range(min(nano.vision_layers - 1, nano.layers))),
    }
    return Qwen3VLConfig(**nano_sizes(nano, tokenizer, {"head_dim": head, "rope_parameters": rope}, features))


ARCHITECTURE = Architecture(
    name="qwen3_vl",
    model_types=("qwen3_vl",),
    chat=CHAT,
    blocks=BLOCKS,
    vision="model.visual",
    projector=("model.visual.merger", "model.visual.deepstack_merger_list"),
    image_bounds=image_bounds,
    positions=positions,
    forward=_DeepstackForward(),
    build=_build,
)
