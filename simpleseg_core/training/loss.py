"""The loss of the answers' tokens, of which there are far fewer than of all others.

Shapes: B rows of T tokens, L learned tokens among them, H values of a hidden state, V words of the vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

Head = Callable[[Tensor], Tensor]
"""Hidden states -> logits."""


def answer_losses(
    model: nn.Module, plain: PreTrainedModel, inputs: Mapping[str, Tensor], keep: Tensor, targets: Tensor, chunk: int
) -> Tensor:
    """The loss of each learned token, (L,) float32.

    Args:
        model: what is called: the model, or what spreads it over workers.
        plain: the model itself.
        inputs: of its forward pass.
        keep: (B, T - 1) bool: where a learned token is predicted.
        targets: (L,) these tokens.
        chunk: tokens whose logits are held at a time, (chunk, V); 0: the logits of every position, (B, T, V).
    """
    if not chunk:
        logits: Tensor = model(**inputs, use_cache=False).logits
        return _losses(lambda hidden: hidden, logits[:, :-1][keep], targets)
    with _head_of(plain, lambda head, hidden: _in_chunks(head, hidden[:, :-1][keep], targets, chunk)):
        losses: Tensor = model(**inputs, use_cache=False).logits
    return losses


@contextmanager
def _head_of(model: PreTrainedModel, instead: Callable[[Head, Tensor], Tensor]) -> Iterator[None]:
    """In the block, the model's forward pass gives what `instead` makes of its head and of (B, T, H) hidden states.

    So the forward pass stays the one that DDP and FSDP know, of whatever architecture.
    """
    head = cast(nn.Module, model.get_output_embeddings())
    plain: Head = head.forward
    head.forward = lambda hidden: instead(plain, hidden)
    try:
        yield
    finally:
        del head.forward


def _in_chunks(head: Head, hidden: Tensor, targets: Tensor, size: int) -> Tensor:
    """(L, H) -> (L,); logits are computed again for the gradient and never kept."""
    pairs = zip(hidden.split(size), targets.split(size), strict=True)
    return torch.cat([cast(Tensor, checkpoint(_losses, head, *pair, use_reentrant=False)) for pair in pairs])


def _losses(head: Head, hidden: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(head(hidden).float(), targets, reduction="none")
