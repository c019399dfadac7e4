"""Attention by length against transformers' own, one call a window, and against a mask."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from simpleseg_core.models.attention import attend, attend_by_length


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_tokens_see_their_own_part_and_no_other(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 2, sum(lengths), 4, generator=generator, dtype=torch.float64).unbind()
    part = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    masked = scaled_dot_product_attention(query, key, value, attn_mask=part[:, None] == part, scale=0.3)
    torch.testing.assert_close(attend(query, key, value, lengths, 0.3), masked.transpose(0, 1))


def tower() -> Any:
    """The vision tower of a random model, with whole and cut windows of several images."""
    torch.manual_seed(0)
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 32,
        "patch_size": 4, "spatial_merge_size": 2, "window_size": 32, "fullatt_block_indexes": [1],
    }  # fmt: skip
    text = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 48, "vocab_size": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    return AutoModelForImageTextToText.from_config(Qwen2_5_VLConfig(vision_config=vision, text_config=text))


@pytest.mark.parametrize("grids", [[[1, 8, 8]], [[1, 8, 8], [1, 10, 12], [1, 6, 20]]])
def test_the_tower_gives_the_features_and_gradients_of_transformers(grids: list[list[int]]) -> None:
    theirs, ours = _seen(tower(), grids), tower()
    attend_by_length(ours)
    for one, other in zip(theirs, _seen(ours, grids), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def _seen(model: Any, grids: list[list[int]]) -> list[Tensor]:
    patches = sum(height * width for _, height, width in grids)
    pixels = torch.randn(patches, 3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(1))
    visual = model.model.visual
    features = visual(pixels, grid_thw=torch.tensor(grids)).pooler_output
    features.square().sum().backward()
    return [features, *(weight.grad for weight in visual.parameters())]


def test_only_the_vision_tower_and_only_pytorchs_own_attention_changes() -> None:
    model = tower()
    model.set_attn_implementation("eager")
    attend_by_length(model)
    assert model.config.vision_config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    attend_by_length(model)
    assert model.config.text_config._attn_implementation == "sdpa"
    assert model.config.vision_config._attn_implementation == "flash_by_length"
    assert "flash" not in model.config.to_json_string()
