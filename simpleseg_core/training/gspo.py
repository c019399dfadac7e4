"""The objective of group sequence policy optimisation (GSPO, arXiv 2507.18071), as pure functions of tensors.

Shapes: G prompts, n answers for each, B answers in a batch, T tokens of the longest answer; `mask` is bool (B, T), true
on the tokens of the answer, its stop token included.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_TIE = 1e-6
"""Rewards closer than this are equal: they come out of float arithmetic on masks."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """The clipped objective of each answer, (B,), and what to watch about it."""

    objective: Tensor
    """min(s A, clip(s) A), to be maximised."""
    ratio: Tensor
    """s, the sequence-level importance ratio, without gradient."""
    clipped: Tensor
    """bool: the clip is active, so this answer gives no gradient."""


def sequence_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of each answer, (B, T) -> (B,). The mean, never the sum: see `log_ratio`."""
    return torch.where(mask, values, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)


def log_ratio(logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the sequence-level importance ratio, (B,).

    s_i = (pi(y_i|x) / pi_old(y_i|x)) ^ (1/|y_i|) = exp(mean_t(logp_t - old_logp_t))    (eq. 7)

    Without the length normalisation a few tokens would move long answers out of the clip range, a few 1e-4 wide.
    `old_logps` must come from the trainer: the engine differs from it by more than the clip range.
    """
    return sequence_mean(logps - old_logps, mask)


def surrogate(log_ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Surrogate:
    """The clipped surrogate of each answer (eq. 5): min(s A, clip(s, 1 - clip_low, 1 + clip_high) A)."""
    ratio = log_ratios.exp()
    limited = ratio.clamp(1 - clip_low, 1 + clip_high)
    free, bounded = ratio * advantages, limited * advantages
    return Surrogate(torch.minimum(free, bounded), ratio.detach(), (bounded < free).detach())


def group_advantages(rewards: Tensor, normalise_std: bool) -> Tensor:
    """Advantages within each group, (G, n) -> (G, n): r - mean(r), divided by std(r) if asked (eq. 6).

    A group whose rewards are all equal has nothing to compare and gets zeros.
    """
    centred = rewards - rewards.mean(-1, keepdim=True)
    if normalise_std:
        centred = centred / rewards.std(-1, keepdim=True, correction=0).clamp(min=_TIE)
    return torch.where(has_variance(rewards)[:, None], centred, 0.0)


def has_variance(rewards: Tensor) -> Tensor:
    """Which groups can teach anything, (G, n) -> bool (G,): those with at least two different rewards."""
    return rewards.amax(-1) - rewards.amin(-1) > _TIE


def kl_k3(logps: Tensor, reference_logps: Tensor, mask: Tensor) -> Tensor:
    """Estimate of KL(pi || reference) per token of each answer, (B,): mean_t(exp(d) - d - 1) with d = ref_logp - logp.

    Unbiased, never negative, and of lower variance than -d (Schulman, "Approximating KL divergence", estimator k3).
    """
    difference = reference_logps - logps
    return sequence_mean(difference.exp() - difference - 1, mask)


def token_logps(logits: Tensor, tokens: Tensor, temperature: float, forbidden: Tensor) -> Tensor:
    """Log-probabilities of tokens under the sampling policy, (..., V) and (...,) -> (...,) in float32.

    The policy is what the engine samples from: logits of `forbidden` ids at minus infinity, the rest divided by the
    temperature. Truncation by top-p is not part of it: train with top_p 1.
    """
    allowed = logits.float().index_fill(-1, forbidden, float("-inf")) / temperature
    chosen = allowed.gather(-1, tokens[..., None])[..., 0]
    return chosen - allowed.logsumexp(-1)
