"""Lets groundingdino-py 0.4 run on transformers 5, whose BERT lost the methods that its wrapper calls.

The wrapper exists for one thing: a self-attention mask for each pair of tokens, so that the phrases of a caption do
not see each other. BERT takes such a mask itself now, once it has a dimension for the heads.
"""

from typing import Any

import torch
from torch import Tensor, nn


def install() -> None:
    """Replace the wrapper by BERT itself, with the same parameter names; idempotent. Call before building a model."""
    from groundingdino.models.GroundingDINO import groundingdino

    groundingdino.BertModelWarper = with_pairwise_masks


def with_pairwise_masks(bert_model: nn.Module) -> nn.Module:
    """The same BERT, which also takes `attention_mask` as bool (B, T, T): row i says which tokens token i sees."""
    bert_model.register_forward_pre_hook(_widen_mask, with_kwargs=True)
    return bert_model


def _widen_mask(
    module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    mask: Tensor | None = keywords.get("attention_mask")
    if mask is not None and mask.ndim == 3:
        weight = next(module.parameters())
        hidden = torch.full((), torch.finfo(weight.dtype).min, dtype=weight.dtype, device=weight.device)
        keywords = keywords | {"attention_mask": torch.where(mask.bool(), 0.0, hidden)[:, None]}
    return arguments, keywords
