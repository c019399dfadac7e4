"""Advantages of answers from the rewards of their groups: G prompts, n answers for each.

An answer is compared with the others to its prompt; a group whose rewards differ by less than `min_spread` has nothing
to compare and gets zeros from every function here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_TIE = 1e-6
"""Rewards closer than this are equal, whatever counts as a difference: they come out of float arithmetic on masks."""


@dataclass(frozen=True, slots=True)
class Rewards:
    """Rewards of the answers to G prompts, n each, and how their differences count."""

    total: Tensor
    """(G, n), in [0, 1]."""
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    """Each term of the total, (G, n); only `per_term` asks for them."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each term."""
    normalise_std: bool = False
    """Divide by the group's standard deviation, where the objective leaves that open."""
    min_spread: float = 0.0


def has_variance(rewards: Tensor, min_spread: float) -> Tensor:
    """Which groups can teach anything, (G, n) -> bool (G,): best and worst reward differ by `min_spread` or more."""
    spread = rewards.amax(-1) - rewards.amin(-1)
    return (spread > _TIE) & (spread >= min_spread)


def group_advantages(rewards: Tensor, normalise_std: bool, min_spread: float) -> Tensor:
    """Advantages within each group, (G, n) -> (G, n): r - mean(r), divided by std(r) if asked.

    The divisor is `min_spread` at least: a smaller one would make much of little.
    """
    centred = rewards - rewards.mean(-1, keepdim=True)
    if normalise_std:
        centred = centred / rewards.std(-1, keepdim=True, correction=0).clamp(min=max(min_spread, _TIE))
    return torch.where(has_variance(rewards, min_spread)[:, None], centred, 0.0)


def relative(rewards: Rewards) -> Tensor:
    """GRPO's group-relative advantages (arXiv 2402.03300), (G, n): (r - mean(r)) / std(r), or without
    the division, as configured."""
    return group_advantages(rewards.total, rewards.normalise_std, rewards.min_spread)


def centred(rewards: Rewards) -> Tensor:
    """Dr. GRPO's (arXiv 2503.20783), (G, n): r - mean(r), for dividing by std(r) favours the easiest and the
    hardest prompts."""
    return group_advantages(rewards.total, normalise_std=False, min_spread=rewards.min_spread)


def by_mean(rewards: Rewards) -> Tensor:
    """MaxRL's (arXiv 2602.02710), (G, n): (r - mean(r)) / mean(r).

    For rewards of 0 and 1 that weighs a prompt by 1 / (its pass rate), which makes the expected gradient that of a
    truncated log-likelihood of success rather than of the pass rate; ours lie between, where the same weight is
    MaxRL's formula but not its theorem. Rewards must not be negative.
    """
    mean = rewards.total.mean(-1, keepdim=True).clamp(min=max(rewards.min_spread, _TIE))
    return centred(rewards) / mean


def per_term(rewards: Rewards) -> Tensor:
    """GDPO's (arXiv 2601.05242), (G, n): each term normalised by itself, so that none drowns the others.

    A = sum_k w_k (r_k - mean(r_k)) / std(r_k) over each group, then divided by its standard deviation over the batch
    (its mean over the batch is 0, for that of each group is).
    """
    parts = [
        weight * group_advantages(rewards.terms[name], normalise_std=True, min_spread=rewards.min_spread)
        for name, weight in rewards.weights.items()
        if weight > 0
    ]
    teaches = has_variance(rewards.total, rewards.min_spread)[:, None]
    summed = torch.where(teaches, torch.stack(parts).sum(0), 0.0)
    return summed / summed.std(correction=0).clamp(min=_TIE)
