"""What the Qwen-VL family has in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from simpleseg_core.models.architectures._protocol import ChatForm

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from simpleseg_core.config import ModelConfig, NanoConfig

P = TypeVar("P")

BLOCKS = ("model.visual.blocks", "model.language_model.layers")

CHAT = ChatForm(
    answer_opening="<|im_start|>assistant\n",
    answer_end="<|im_end|>",
    template=(
        "{%- for message in messages -%}"
        "{{- '<|im_start|>' + message['role'] + '\n' -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
        "{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
        "{%- elif part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}"
        "{{- '<|im_end|>\n' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
    ),  # without the default system message, which a small model would only have to skip
    special_tokens=(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
        "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
        "<|image_pad|>", "<|video_pad|>",
    ),
    padding="<|endoftext|>",
)  # fmt: skip


def image_bounds(min_pixels: int, max_pixels: int) -> dict[str, Any]:
    """The image processor calls areas edges."""
    return {"size": {"shortest_edge": min_pixels, "longest_edge": max_pixels}}


def nano_processor(
    config: "ModelConfig", tokenizer: "PreTrainedTokenizerFast", kind: Callable[..., P], videos: Callable[..., Any]
) -> P:
    """The processor of a model built from scratch, made of the classes that its checkpoints name."""
    from transformers import Qwen2VLImageProcessor

    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    sizes = {"patch_size": config.nano.patch_size, "merge_size": 2, "temporal_patch_size": 2}
    return kind(
        image_processor=Qwen2VLImageProcessor(**sizes, min_pixels=config.min_pixels, max_pixels=config.max_pixels),
        tokenizer=tokenizer,
        video_processor=videos(**sizes),
        chat_template=CHAT.template,
    )


def nano_sizes(
    nano: "NanoConfig", tokenizer: "PreTrainedTokenizerFast", text: Mapping[str, Any], vision: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of the configuration of a model built from scratch; `text` and `vision` are what its kind adds."""
    ids = tokenizer.get_vocab()
    return {
        "text_config": {
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": nano.hidden_size,
            "intermediate_size": nano.intermediate_size,
            "num_hidden_layers": nano.layers,
            "num_attention_heads": nano.heads,
            "num_key_value_heads": nano.kv_heads,
            "max_position_embeddings": 4096,
            "initializer_range": nano.initializer_range,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
            **text,
        },
        "vision_config": {
            "depth": nano.vision_layers,
            "hidden_size": nano.vision_hidden_size,
            "intermediate_size": nano.vision_hidden_size * 3,
            "num_heads": nano.vision_heads,
            "out_hidden_size": nano.hidden_size,
            "patch_size": nano.patch_size,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "initializer_range": nano.initializer_range,
            **vision,
        },
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }


def positions(processor: Any, encoded: Mapping[str, "Tensor"]) -> "Tensor":
    """Rotary positions (3, B, T) of right-padded conversations: text counts on along all axes; an image stands at one
    time, its rows and columns count from there, and the text behind it goes on from the larger side.

    Shapes: B conversations of T tokens; one image each, of h x w placeholders.
    """
    import torch

    ids = encoded["input_ids"]
    sides = encoded["image_grid_thw"][:, 1:] // processor.image_processor.merge_size
    is_image = encoded["mm_token_type_ids"] == 1
    starts, sizes = is_image.int().argmax(1), sides.prod(1)
    place = torch.arange(ids.shape[1]).expand(ids.shape)
    inside = place - starts[:, None]
    width = sides[:, 1:]
    behind = torch.where(inside < 0, place, place - (sizes - sides.amax(1))[:, None])
    grid = torch.stack([torch.zeros_like(inside), inside // width, inside % width]) + starts[:, None]
    return torch.where(is_image, grid, behind)


@dataclass(frozen=True, slots=True)
class QwenForward:
    """The vision tower's output takes the place of the placeholders; three rotary axes: time, height, width."""

    image_inputs: tuple[str, ...] = ("pixel_values", "image_grid_thw")

    def positions(self, model: Any, encoded: Mapping[str, "Tensor"]) -> "Tensor":
        positions: Tensor = model.model.get_rope_index(
            encoded["input_ids"],
            encoded["mm_token_type_ids"],
            image_grid_thw=encoded["image_grid_thw"],
            attention_mask=encoded["attention_mask"],
        )[0]
        return positions

    def image_features(self, model: Any, *images: "Tensor") -> "Tensor":
        import torch

        return torch.cat(tuple(model.model.get_image_features(*images, return_dict=True).pooler_output))

    def image_sizes(self, model: Any, *images: "Tensor") -> list[int]:
        sizes: list[int] = (images[1].prod(-1) // model.config.vision_config.spatial_merge_size**2).tolist()
        return sizes

    def hidden(self, model: Any, ids: "Tensor", positions: "Tensor", features: "Tensor") -> "Tensor":
        embeds = model.get_input_embeddings()(ids)
        placeholders = (ids == model.config.image_token_id)[..., None]
        hidden: Tensor = model.model.language_model(
            inputs_embeds=embeds.masked_scatter(placeholders, features.to(embeds.dtype)),
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state
        return hidden
