"""`config.json` of Kimi-VL, as published."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import DeepseekV3Config, PreTrainedConfig


@strict
class MoonViTConfig(PreTrainedConfig):
    """The vision tower."""

    model_type = "moonvit"

    patch_size: int = 14
    init_pos_emb_height: int = 64
    init_pos_emb_width: int = 64
    num_attention_heads: int = 16
    num_hidden_layers: int = 27
    hidden_size: int = 1152
    intermediate_size: int = 4304
    merge_kernel_size: tuple[int, int] | list[int] = (2, 2)
    initializer_range: float = 0.02


@strict
class KimiVLConfig(PreTrainedConfig):
    """Tower, projector and decoder."""

    model_type = "kimi_vl"
    sub_configs = {"vision_config": MoonViTConfig, "text_config": DeepseekV3Config}

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    media_placeholder_token_id: int = 163605
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.vision_config, PreTrainedConfig):
            self.vision_config = MoonViTConfig(**(self.vision_config or {}))
        if not isinstance(self.text_config, PreTrainedConfig):
            # vLLM asks for the names of what DeepSeek-V3 always does.
            self.text_config = DeepseekV3Config(
                **{"scoring_func": "sigmoid", "topk_method": "noaux_tc", **(self.text_config or {})}
            )
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
