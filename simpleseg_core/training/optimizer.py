"""AdamW, and Muon with AdamW's scale of updates, behind one interface."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Muon, Optimizer

from simpleseg_core.config import OptimizerConfig
from simpleseg_core.training.muon import StackedMuon
from simpleseg_core.training.sharded_muon import ShardedMuon

_MUONS: dict[int, type[Optimizer]] = {2: Muon, 3: StackedMuon}
"""By the rank of a parameter."""
Rate = Callable[[str], float]
"""Name of a parameter -> factor of its learning rate."""


class Optimizers:
    """One or two torch optimizers stepped together at one learning rate."""

    def __init__(self, parts: list[Optimizer], factors: list[list[float]]) -> None:
        """
        Args:
            factors: of the learning rate, of each group of each optimizer.
        """
        self.parts, self._factors = parts, factors

    def step(self, lr: float) -> None:
        """Update every parameter at the given rate and clear the gradients."""
        for part, factors in zip(self.parts, self._factors, strict=True):
            for group, factor in zip(part.param_groups, factors, strict=True):
                group["lr"] = lr * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """States of the parts, in order."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore what `state_dict` gave."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters that are updated alike."""

    by: type[Optimizer]
    decays: bool
    factor: float


def build_optimizer(model: nn.Module, config: OptimizerConfig, rate: Rate = lambda name: 1.0) -> Optimizers:
    """AdamW for all that learns, or Muon for hidden matrices and AdamW for the rest.

    Muon scales each update by 0.2 * sqrt(max(d_in, d_out)), so that AdamW's rate and decay carry over (Moonlight,
    arXiv 2502.16982, section 2.2); embeddings, the head, norms and biases stay with AdamW.
    """
    groups = defaultdict[_Group, list[nn.Parameter]](list)
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    for name, parameter in sorted(named, key=lambda pair: not _is_hidden(*pair)):
        by = _MUONS[parameter.ndim] if config.name == "muon" and _is_hidden(name, parameter) else AdamW
        groups[_Group(by, parameter.ndim >= 2, rate(name))].append(parameter)
    ordered = sorted(groups, key=lambda group: not group.decays)
    kinds = [[group for group in ordered if group.by is by] for by in (*_MUONS.values(), AdamW)]
    parts = [_optimizer(kind, groups, config) for kind in kinds if kind]
    return Optimizers(parts, [[group.factor for group in kind] for kind in kinds if kind])


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a matrix between two hidden states, or the experts' of a layer, stacked."""
    return parameter.ndim in _MUONS and not any(part in name for part in ("embed", "lm_head"))


def _optimizer(kind: list[_Group], groups: Mapping[_Group, list[nn.Parameter]], config: OptimizerConfig) -> Optimizer:
    """Of groups of one kind."""
    described: list[dict[str, Any]] = [
        {"params": groups[group], "weight_decay": config.weight_decay if group.decays else 0.0} for group in kind
    ]
    if kind[0].by is Muon:
        sharded = any(isinstance(matrix, DTensor) for group in kind for matrix in groups[group])
        muon = ShardedMuon if sharded else Muon
        return muon(described, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
    if kind[0].by is StackedMuon:
        return StackedMuon(described, lr=config.lr, weight_decay=config.weight_decay)
    return AdamW(described, lr=config.lr, betas=config.betas, foreach=True)


def clip_gradients(model: nn.Module, limit: float) -> float:
    """Scale gradients to a global norm of at most `limit`; returns the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
