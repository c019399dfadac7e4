"""Attention within each image or window of a vision tower, all those of one length in one call.

Without flash-attn, transformers calls attention once for each window of each image: 80 times a layer and image at
published sizes, and starting so many kernels takes longer than all else that a GPU does in a step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

_NAME = "flash_by_length"
"""`flash` in a name has transformers hand over whole sequences, and where their parts end."""


def attend_by_length(model: PreTrainedModel) -> None:
    """Have the model's vision tower call `attend` where it would use PyTorch's own attention."""
    vision = getattr(model.config, "vision_config", None)
    if vision is not None and vision._attn_implementation == "sdpa":
        model.set_attn_implementation({"vision_config": _NAME})


def attend(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scaling: float) -> Tensor:
    """Attention of H heads in which tokens see those of their own part only, neither masked nor causal.

    Args:
        query, key, value: (H, T, D).
        lengths: tokens of each part, in order; they sum up to T.

    Returns:
        (T, H, D).
    """
    size, kinds = np.asarray(lengths), np.unique(lengths)
    whole = torch.stack([query, key, value])
    if len(kinds) == 1:
        return _alike(whole, int(kinds[0]), scaling)
    order = np.argsort(np.repeat(size, size), kind="stable")
    there, back = (torch.from_numpy(each).to(query.device) for each in (order, np.argsort(order)))
    parts = whole[:, :, there].split([int(kind * (size == kind).sum()) for kind in kinds], 2)
    return torch.cat([_alike(part, kind, scaling) for part, kind in zip(parts, kinds.tolist(), strict=True)])[back]


def _alike(whole: Tensor, length: int, scaling: float) -> Tensor:
    """The same for parts of one length, (3, H, T, D) -> (T, H, D)."""
    query, key, value = whole.unflatten(2, (-1, length)).transpose(1, 2)
    return scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2).flatten(0, 1)


def _called_by_transformers(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **how: Any
) -> tuple[Tensor, None]:
    """(1, H, T, D) each -> (1, T, H, D)."""
    lengths = how["cu_seq_lens_q"].diff().tolist()
    return attend(query[0], key[0], value[0], lengths, how["scaling"])[None], None


AttentionInterface.register(_NAME, _called_by_transformers)
