"""MoonViT: a vision transformer at native resolution, all images of a batch behind each other.

Shapes: N images of h x w patches, L patches in all, D values each; after merging, M = L / 4 tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from simpleseg_core.models.attention import attend
from simpleseg_core.models.kimi_vl.configuration import MoonViTConfig

_THETA = 10_000.0
Grids = Sequence[tuple[int, int]]
"""Rows and columns of patches of each image."""


class PositionGrid(nn.Module):
    """Learned positions, stretched to each image."""

    def __init__(self, height: int, width: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(height, width, size))

    def forward(self, grids: Grids) -> Tensor:
        """(L, D)."""
        return torch.cat([self._stretched(grid).flatten(0, 1) for grid in grids])

    def _stretched(self, grid: tuple[int, int]) -> Tensor:
        if grid == self.weight.shape[:2]:
            return self.weight
        return interpolate(self.weight.permute(2, 0, 1)[None], size=grid, mode="bicubic")[0].permute(1, 2, 0)


class PatchEmbed(nn.Module):
    """Patches and where they are."""

    def __init__(self, config: MoonViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.pos_emb = PositionGrid(config.init_pos_emb_height, config.init_pos_emb_width, config.hidden_size)

    def forward(self, pixels: Tensor, grids: Grids) -> Tensor:
        """(L, 3, side, side) -> (L, D)."""
        embedded: Tensor = self.proj(pixels).flatten(1) + self.pos_emb(grids)
        return embedded


def rotary_angles(grids: Grids, head_size: int, device: torch.device) -> Tensor:
    """Angles by which pairs of values turn, (L, head_size / 2): columns and rows in turn, the frequencies of RoPE."""
    exponents = torch.arange(0, head_size, 4, device=device) / head_size
    places = [
        torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device)).flip(-1) for h, w in grids
    ]
    angles = torch.cat(places)[:, None, :] * (_THETA**-exponents)[None, :, None]
    return angles.flatten(1)


def rotate(values: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs of neighbouring values, (L, heads, size) by (L, size / 2), in float32."""
    even, odd = values.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(values)


class MLP(nn.Module):
    """Two layers."""

    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.fc0, self.fc1 = nn.Linear(size, inner), nn.Linear(inner, size)
        self.activation = ACT2FN["gelu_pytorch_tanh"]

    def forward(self, hidden: Tensor) -> Tensor:
        """(L, D) -> (L, D)."""
        values: Tensor = self.fc1(self.activation(self.fc0(hidden)))
        return values


class EncoderLayer(GradientCheckpointingLayer):
    """Attention within each image, and an MLP."""

    def __init__(self, config: MoonViTConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.config, self._heads = config, config.num_attention_heads
        self.norm0, self.norm1 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.wqkv, self.wo = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.mlp = MLP(size, config.intermediate_size)

    def forward(self, hidden: Tensor, angles: Tensor, lengths: list[int]) -> Tensor:
        """(L, D) -> (L, D); `lengths` are the patches of each image."""
        hidden = hidden + self.wo(self._attention(self.norm0(hidden), angles, lengths))
        passed: Tensor = hidden + self.mlp(self.norm1(hidden))
        return passed

    def _attention(self, hidden: Tensor, angles: Tensor, lengths: list[int]) -> Tensor:
        query, key, value = self.wqkv(hidden).unflatten(-1, (3, self._heads, -1)).unbind(1)
        query, key = rotate(query, angles), rotate(key, angles)
        query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        return attend(query, key, value, lengths, query.shape[-1] ** -0.5).flatten(1)


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, config: MoonViTConfig) -> None:
        super().__init__()
        self._head_size = config.hidden_size // config.num_attention_heads
        self.blocks = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.final_layernorm = nn.LayerNorm(config.hidden_size)

    def forward(self, hidden: Tensor, grids: Grids) -> Tensor:
        """(L, D) -> (L, D)."""
        angles = rotary_angles(grids, self._head_size, hidden.device)
        lengths = [height * width for height, width in grids]
        for block in self.blocks:
            hidden = block(hidden, angles, lengths)
        normed: Tensor = self.final_layernorm(hidden)
        return normed


class MoonViT(PreTrainedModel):
    """The tower."""

    config_class = MoonViTConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config: MoonViTConfig) -> None:
        super().__init__(config)
        self.patch_embed = PatchEmbed(config)
        self.encoder = Encoder(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, pixel_values: Tensor, image_grid_hws: Tensor) -> Tensor:
        """(L, 3, side, side), (N, 2) -> (M, 4, D): the patches that one token stands for, side by side."""
        grids = [(height, width) for height, width in image_grid_hws.tolist()]
        hidden = self.encoder(self.patch_embed(pixel_values.to(self.dtype), grids), grids)
        images = hidden.split([height * width for height, width in grids])
        return torch.cat([self._merged(image, grid) for image, grid in zip(images, grids, strict=True)])

    def _merged(self, image: Tensor, grid: tuple[int, int]) -> Tensor:
        rows, columns = self.config.merge_kernel_size
        tiles = image.unflatten(0, (grid[0] // rows, rows, grid[1] // columns, columns))
        merged: Tensor = tiles.transpose(1, 2).flatten(2, 3).flatten(0, 1)
        return merged

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        if isinstance(module, PositionGrid):
            init.normal_(module.weight, std=self.config.initializer_range)
