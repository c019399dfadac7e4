"""AdamW, and the Kimi variant of Muon, behind one interface."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from simpleseg_core.config import OptimizerConfig


class Optimizers:
    """One or two torch optimizers stepped together at one learning rate."""

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts

    def step(self, lr: float) -> None:
        """Update every parameter at the given rate and clear the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """States of the parts, in order."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore what `state_dict` gave."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizers:
    """AdamW for all, or Muon for hidden matrices and AdamW for the rest.

    Muon scales each update by 0.2 * sqrt(max(d_in, d_out)), so that AdamW's rate and decay carry over (Moonlight,
    arXiv 2502.16982,
    section 2.2); embeddings, the head, norms and biases stay with AdamW, as in the Kimi-VL report.
    """
    matrices, others = _split(model.named_parameters())
    if config.name == "adamw":
        return Optimizers([_adamw([*matrices, *others], config)])
    muon = Muon(matrices, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
    return Optimizers([muon, _adamw(others, config)])


def _split(named: Iterator[tuple[str, nn.Parameter]]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices, and everything else that learns."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            hidden = parameter.ndim == 2 and not any(part in name for part in ("embed", "lm_head"))
            (matrices if hidden else others).append(parameter)
    return matrices, others


def _adamw(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> Optimizer:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in parameters:
        (decayed if parameter.ndim >= 2 else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=config.lr, betas=config.betas, foreach=True)


def clip_gradients(model: nn.Module, limit: float) -> float:
    """Scale gradients to a global norm of at most `limit`; returns the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
