"""Keeping the experts of a mixture equally busy: biases that nudge the choice, and an auxiliary loss.

Shapes: B rows of T tokens, E experts of which each token goes to K.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from simpleseg_core.config import RouterConfig

BIAS = "e_score_correction_bias"
"""What is added to an expert's score when experts are chosen, and only then."""


class Balance:
    """Watches the routers of one worker's model, as DeepSeek-V3 keeps its experts busy (arXiv 2412.19437)."""

    def __init__(self, model: nn.Module, config: RouterConfig) -> None:
        self._config = config
        routers: list[Any] = [module for module in model.modules() if hasattr(module, BIAS)]
        self._routers = routers if config.bias_rate or config.balance_loss else []
        self._loads = [torch.zeros_like(router.e_score_correction_bias) for router in self._routers]
        self._seen: list[tuple[Tensor, Tensor]] | None = None
        self._passed: list[tuple[Tensor, Tensor]] = []
        for router in self._routers:
            router.register_forward_hook(self._see)

    def _see(self, router: nn.Module, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
        if self._seen is not None:
            self._seen.append((output[0], output[2]))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The forward pass of one micro-batch; what gradient checkpointing computes again does not count."""
        seen = self._seen = list[tuple[Tensor, Tensor]]()
        try:
            yield
        finally:
            self._seen, self._passed = None, seen

    def loss(self, mask: Tensor, tokens: float) -> Tensor | float:
        """The auxiliary loss of the micro-batch that was watched, whose experts are counted here.

        Args:
            mask: (B, T): where there is a token.
            tokens: of the whole step; a row counts by its share of them.
        """
        total: Tensor | float = 0.0
        for load, (logits, chosen) in zip(self._loads, self._passed, strict=True):
            scores = logits.float().sigmoid().unflatten(0, mask.shape)
            took = torch.zeros_like(scores).scatter_(-1, chosen.unflatten(0, mask.shape), 1.0) * mask[..., None]
            load += took.sum((0, 1)).to(load.dtype)
            total = total + _imbalance(scores, took, mask)
        self._passed = []
        return self._config.balance_loss * total / max(tokens, 1.0)

    def step(self) -> dict[str, float]:
        """Move the biases by what all workers' tokens did since the last time; returns how unequal it was: by how much
        the busiest expert of any layer had more than its share (0: all alike)."""
        worst = 0.0
        for router, load in zip(self._routers, self._loads, strict=True):
            if dist.is_initialized():
                dist.all_reduce(load)
            share = load.mean()
            worst = max(worst, float(load.max() / share.clamp(min=1e-9)) - 1)
            router.e_score_correction_bias += self._config.bias_rate * (share - load).sign()
            load.zero_()
        return {"expert_imbalance": worst} if self._routers else {}


def _imbalance(scores: Tensor, took: Tensor, mask: Tensor) -> Tensor:
    """Each row's sum over experts of (share of choices x E) times (score, summed over its tokens), summed up.

    Args:
        scores: (B, T, E).
        took: (B, T, E), 1 where a token went to an expert.
        mask: (B, T).
    """
    probabilities = scores / scores.sum(-1, keepdim=True) * mask[..., None]
    shares = took.sum(1) * scores.shape[-1] / took.sum((1, 2))[:, None].clamp(min=1)
    return (shares * probabilities.sum(1)).sum()
