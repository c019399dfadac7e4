"""What objectives are made of: log-probabilities of tokens, their means over answers, ratios and divergences.

Shapes: B answers in a batch, T tokens of the longest answer; `mask` is bool (B, T), true on the tokens of the answer,
its stop token included.
"""

import torch
from torch import Tensor


def sequence_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of each answer, (B, T) -> (B,)."""
    return sequence_sum(values, mask) / mask.sum(-1).clamp(min=1)


def sequence_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the tokens of each answer, (B, T) -> (B,)."""
    return torch.where(mask, values, 0.0).sum(-1)


def log_ratio(logps: Tensor, old_logps: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the sequence-level importance ratio, (B,).

    s_i = (pi(y_i|x) / pi_old(y_i|x)) ^ (1/|y_i|) = exp(mean_t(logp_t - old_logp_t))    (GSPO, eq. 7)

    The mean, never the sum: without the length normalisation a few tokens would move long answers out of the clip
    range, a few 1e-4 wide. `old_logps` must come from the trainer: the engine differs from it by more than that range.
    """
    return sequence_mean(logps - old_logps, mask)


def kl_k3(logps: Tensor, reference_logps: Tensor, mask: Tensor) -> Tensor:
    """Estimate of KL(pi || reference) per token of each answer, (B,): mean_t(exp(d) - d - 1) with d = ref_logp - logp.

    Unbiased, never negative, and of lower variance than -d (Schulman, "Approximating KL divergence", estimator k3).
    """
    difference = reference_logps - logps
    return sequence_mean(difference.exp() - difference - 1, mask)


def importance_weights(old_logps: Tensor, engine_logps: Tensor, mask: Tensor, cap: float) -> Tensor:
    """Truncated weights of answers that an engine drew from a slightly other policy than the trainer's, (B,).

    w_i = min(pi_old(y_i|x) / pi_engine(y_i|x), cap), of whole answers: `engine_logps` (B,) are sums over their tokens.
    Truncation bounds the variance that the product of many ratios has (Ionides 2008; for engines of other numerics:
    Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"; TRL's
    `sequence_truncate`). An answer whose engine gave no log-probability (NaN) weighs 1.
    """
    weights = (sequence_sum(old_logps, mask) - engine_logps).exp().clamp(max=cap)
    return weights.nan_to_num(1.0).detach()


def token_logps(logits: Tensor, tokens: Tensor, temperature: float, forbidden: Tensor) -> Tensor:
    """Log-probabilities of tokens under the sampling policy, (..., V) and (...,) -> (...,) in float32.

    The policy is what the engine samples from: logits of `forbidden` ids at minus infinity, the rest divided by the
    temperature. Truncation by top-p is not part of it: train with top_p 1.
    """
    allowed = logits.float().index_fill(-1, forbidden, float("-inf")) / temperature
    chosen = allowed.gather(-1, tokens[..., None])[..., 0]
    return chosen - allowed.logsumexp(-1)
