"""Tower, projector and decoder as one model.

Shapes: N images, L patches, M image tokens; B rows of T text tokens, H values of the decoder.
"""

from typing import Any, cast

from torch import Tensor, nn
from transformers import DeepseekV3ForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import MoeCausalLMOutputWithPast

from simpleseg_core.models.kimi_vl.configuration import KimiVLConfig
from simpleseg_core.models.kimi_vl.vision import MoonViT


class Projector(nn.Module):
    """From four neighbouring patches to one token of the decoder (pixel shuffle and an MLP)."""

    def __init__(self, config: KimiVLConfig) -> None:
        super().__init__()
        vision: Any = config.vision_config
        text: Any = config.text_config
        rows, columns = vision.merge_kernel_size
        size = vision.hidden_size * rows * columns
        self.pre_norm = nn.LayerNorm(vision.hidden_size, eps=1e-5)
        self.linear_1, self.act, self.linear_2 = nn.Linear(size, size), nn.GELU(), nn.Linear(size, text.hidden_size)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, 4, D) -> (M, H)."""
        projected: Tensor = self.linear_2(self.act(self.linear_1(self.pre_norm(patches).flatten(1))))
        return projected


class KimiVLForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Kimi-VL."""

    config_class = KimiVLConfig
    base_model_prefix = ""
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["EncoderLayer", "DeepseekV3DecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _keep_in_fp32_modules_strict = ["e_score_correction_bias"]

    def __init__(self, config: KimiVLConfig) -> None:
        super().__init__(config)
        vision: Any = config.vision_config
        self.vision_tower = MoonViT(vision)
        self.multi_modal_projector = Projector(config)
        self.language_model: Any = DeepseekV3ForCausalLM(config.text_config)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """Of the decoder."""
        embeddings: nn.Module = self.language_model.get_input_embeddings()
        return embeddings

    def get_output_embeddings(self) -> nn.Module:
        """Of the decoder."""
        head: nn.Module = self.language_model.get_output_embeddings()
        return head

    def image_features(self, pixel_values: Tensor, image_grid_hws: Tensor) -> Tensor:
        """What takes the place of the placeholders, (L, 3, side, side), (N, 2) -> (M, H)."""
        features: Tensor = self.multi_modal_projector(self.vision_tower(pixel_values, image_grid_hws))
        return features

    def embed(self, input_ids: Tensor, features: Tensor | None) -> Tensor:
        """Tokens (B, T), with features (M, H) in place of their placeholders in order, (B, T, H)."""
        embeds: Tensor = self.get_input_embeddings()(input_ids)
        if features is None:
            return embeds
        placeholders = (input_ids == self.config.media_placeholder_token_id)[..., None]
        return embeds.masked_scatter(placeholders, features.to(embeds.dtype))

    def forward(
        self,
        input_ids: Any = None,
        pixel_values: Tensor | None = None,
        image_grid_hws: Any = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> MoeCausalLMOutputWithPast:
        """As DeepSeek-V3, of which `kwargs` are; `position_ids` (B, T), or (axes, B, T) of packed rows, all the same.

        Raises:
            ValueError: not as many placeholders as image tokens.
        """
        if inputs_embeds is None:
            features = None
            if pixel_values is not None:
                features = self.image_features(pixel_values, image_grid_hws)
                self._check(input_ids, features)
            inputs_embeds = self.embed(input_ids, features)
        if position_ids is not None and position_ids.ndim == 3:
            position_ids = position_ids[0]
        output: MoeCausalLMOutputWithPast = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        return output

    def _check(self, input_ids: Tensor, features: Tensor) -> None:
        placeholders = int((input_ids == self.config.media_placeholder_token_id).sum())
        if placeholders != len(features):
            raise ValueError(f"{placeholders} image placeholders in the text, {len(features)} image tokens")

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Images go in with the prompt only."""
        inputs: dict[str, Any] = GenerationMixin.prepare_inputs_for_generation(cast(Any, self), *args, **kwargs)
        if not kwargs.get("is_first_iteration", False) and kwargs.get("use_cache", True):
            inputs["pixel_values"] = inputs["image_grid_hws"] = None
        return inputs
