"""Objectives whose unit is the answer: one ratio, one clip, one weight.

Shapes: B answers of a micro-batch, T tokens the longest; log-probabilities and mask are (B, T), ratios (B,).
"""

import torch
from torch import Tensor

from simpleseg_core.training.objectives._table import Answers, Surrogate, register
from simpleseg_core.training.objectives.advantages import relative
from simpleseg_core.training.objectives.logprobs import log_ratio, sequence_mean

_GSPO = (3e-4, 4e-4)
"""Section 5.1 of the paper."""


def clipped_minimum(ratios: Tensor, advantages: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """PPO's min(s A, clip(s, 1 - low, 1 + high) A), and where the clip is active, bool; elementwise."""
    free, bounded = ratios * advantages, ratios.clamp(1 - low, 1 + high) * advantages
    return torch.minimum(free, bounded), (bounded < free).detach()


@register("gspo", relative, clip=_GSPO)
def gspo(answers: Answers) -> Surrogate:
    """GSPO (arXiv 2507.18071, eq. 5): min(s A, clip(s, 1 - low, 1 + high) A) with the sequence-level ratio s."""
    ratios = log_ratio(answers.logps, answers.old_logps, answers.mask).exp()
    value, clipped = clipped_minimum(ratios, answers.advantages, answers.clip_low, answers.clip_high)
    return Surrogate(value, clipped.to(value.dtype))


@register("gspo_token", relative, clip=_GSPO)
def gspo_token(answers: Answers) -> Surrogate:
    """GSPO-token (arXiv 2507.18071): mean_t min(s_t A, clip(s_t) A), s_t = sg(s) pi_t / sg(pi_t).

    s_t has the value of s and the gradient of its own token. With one advantage for a whole answer, as here, value and
    gradient are GSPO's; it differs where tokens have advantages of their own.
    """
    ratio = log_ratio(answers.logps, answers.old_logps, answers.mask).exp().detach()[:, None]
    ratios = ratio * (answers.logps - answers.logps.detach()).exp()
    value, clipped = clipped_minimum(ratios, answers.advantages[:, None], answers.clip_low, answers.clip_high)
    return Surrogate(sequence_mean(value, answers.mask), sequence_mean(clipped.to(value.dtype), answers.mask))


@register("luspo", relative, clip=_GSPO)
def luspo(answers: Answers) -> Surrogate:
    """LUSPO (arXiv 2602.05261): GSPO's objective of each answer times its length |y|, so that every token counts alike.

    The paper itself was out of reach; the formula is that of its abstract and summaries and of TRL's `luspo` loss.
    """
    plain = gspo(answers)
    return Surrogate(plain.objective * answers.mask.sum(-1), plain.clipped)


@register("gmpo", relative, clip=(0.4, 0.4))
def gmpo(answers: Answers) -> Surrogate:
    """GMPO (arXiv 2507.20673): A times the geometric mean of token ratios, each clipped in its logarithm.

    exp(mean_t l_t) A, where l_t = sign(A) min(sign(A) d_t, sign(A) clip(d_t, -low, high)), d_t = logp_t - old_logp_t.
    """
    sign = answers.advantages.sign()[:, None]
    change = (answers.logps - answers.old_logps) * sign
    limited = ((answers.logps - answers.old_logps).clamp(-answers.clip_low, answers.clip_high)) * sign
    mean = sequence_mean(sign * torch.minimum(change, limited), answers.mask)
    clipped = (limited < change).to(mean.dtype)
    return Surrogate(mean.exp() * answers.advantages, sequence_mean(clipped, answers.mask).detach())
