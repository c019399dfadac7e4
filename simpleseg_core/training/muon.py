"""Muon for stacks of matrices, such as the experts of a layer: each of them by itself."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST = 1e-7
"""As torch.optim.Muon has them, after Keller Jordan's."""


class StackedMuon(Optimizer):
    """torch.optim.Muon, which takes single matrices only, on parameters (matrices, rows, columns).

    Workers that share a model (FSDP2) hold whole matrices each, so that nothing is gathered.
    """

    def __init__(self, params: ParamsT, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix by an orthogonal one of AdamW's scale (Moonlight, arXiv 2502.16982, section 2.2)."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum, lr = self.state[parameter], group["momentum"], group["lr"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        values, gradient, average = (_own(each) for each in (parameter, gradient, state["momentum_buffer"]))
        average.lerp_(gradient, 1 - momentum)
        update = orthogonal(gradient.lerp(average, momentum))
        values.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-lr * 0.2 * max(values.shape[-2:]) ** 0.5)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices, roughly, by Newton-Schulz iterations in bfloat16, (matrices, rows, columns)."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    values = matrices.bfloat16().mT if tall else matrices.bfloat16()
    values = values / values.norm(dim=(-2, -1), keepdim=True).clamp(min=_SMALLEST)
    for _ in range(_ITERATIONS):
        gram = values @ values.mT
        values = torch.baddbmm(values, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), values, beta=a)
    return values.mT if tall else values


def _own(tensor: Any) -> Tensor:
    """The matrices of this worker."""
    own: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return own
