"""Objectives whose unit is the token: each has a ratio of its own, r_t = pi(y_t) / pi_old(y_t).

Shapes: B answers of a micro-batch, T tokens the longest; log-probabilities, mask and ratios are (B, T), advantages and
what comes of an answer (B,).
"""

import torch
from torch import Tensor

from simpleseg_core.training.objectives._sequence import clipped_minimum
from simpleseg_core.training.objectives._table import Answers, Surrogate, register
from simpleseg_core.training.objectives.advantages import by_mean, centred, per_term, relative
from simpleseg_core.training.objectives.logprobs import sequence_mean, sequence_sum

_PPO = (0.2, 0.2)
_SAPO_POSITIVE, _SAPO_NEGATIVE = 1.0, 1.05
"""Temperatures of the gate: gradients of negative advantages fade sooner."""


@register("grpo", relative, clip=_PPO)
@register("maxrl", by_mean, clip=_PPO)
@register("gdpo", per_term, clip=_PPO)
def grpo(answers: Answers) -> Surrogate:
    """GRPO (arXiv 2402.03300): mean_t min(r_t A, clip(r_t, 1 - low, 1 + high) A).

    MaxRL (2602.02710) and GDPO (2601.05242) change the advantages only; see `by_mean` and `per_term`. Of the two the
    abstracts, TRL's implementations (`normalise_then_sum`, its MaxRL trainer's description) and summaries were read.
    """
    value, clipped = _clipped(answers)
    return Surrogate(sequence_mean(value, answers.mask), sequence_mean(clipped, answers.mask))


@register("dr_grpo", centred, clip=_PPO)
def dr_grpo(answers: Answers) -> Surrogate:
    """Dr. GRPO (arXiv 2503.20783): GRPO's tokens summed and divided by a constant, the longest answer
    allowed, so that every token counts alike in long and short answers; advantages are not divided by std."""
    value, clipped = _clipped(answers)
    return Surrogate(sequence_sum(value, answers.mask) / answers.max_tokens, sequence_mean(clipped, answers.mask))


@register("sapo", relative, clip=_PPO)
def sapo(answers: Answers) -> Surrogate:
    """SAPO (arXiv 2511.20347): a soft gate in the place of the clip, mean_t f(r_t) A.

    f(r) = sigmoid(tau (r - 1)) 4 / tau, with one tau for positive and one for other advantages. Nothing is clipped.
    """
    taus = answers.logps.new_tensor((_SAPO_NEGATIVE, _SAPO_POSITIVE))[(answers.advantages > 0).long()][:, None]
    gates = (taus * (_ratios(answers) - 1)).sigmoid() * 4 / taus
    value = sequence_mean(gates * answers.advantages[:, None], answers.mask)
    return Surrogate(value, torch.zeros_like(value).detach())


@register("cispo", relative, clip=(1.0, 4.0))
def cispo(answers: Answers) -> Surrogate:
    """CISPO (MiniMax-M1, arXiv 2506.13585): sum_t sg(clip(r_t, 1 - low, 1 + high)) A logp_t / mean length.

    The weight of a token is clipped, its gradient never is. The paper divides by all tokens of a group; with the mean
    length of the minibatch the mean over its answers is that over all its tokens. No lower bound (low is 1), and 5 as
    the upper one, as in TRL's documentation (Khatri et al., arXiv 2510.13786).
    """
    ratios = _ratios(answers).detach()
    weights = ratios.clamp(1 - answers.clip_low, 1 + answers.clip_high)
    value = weights * answers.advantages[:, None] * answers.logps
    bounded = sequence_mean((weights != ratios).to(value.dtype), answers.mask)
    return Surrogate(sequence_sum(value, answers.mask) / answers.mean_tokens, bounded)


def _ratios(answers: Answers) -> Tensor:
    """r_t, (B, T); 1 where the mask is false, whatever is there."""
    return torch.where(answers.mask, answers.logps - answers.old_logps, 0.0).exp()


def _clipped(answers: Answers) -> tuple[Tensor, Tensor]:
    """PPO's clipped minimum of each token, and where its clip is active, as a number; both (B, T)."""
    value, active = clipped_minimum(_ratios(answers), answers.advantages[:, None], answers.clip_low, answers.clip_high)
    return value, active.to(value.dtype)
