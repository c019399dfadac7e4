"""Objectives of reinforcement learning as a table: `rl.objective` names a row.

| name | unit of the ratio | weight of an answer's tokens | advantages |
|---|---|---|---|
| gspo, gspo_token | answer | mean | group-relative |
| luspo | answer | sum | group-relative |
| gmpo | token, geometric mean | mean | group-relative |
| grpo | token | mean | group-relative |
| sapo | token, soft gate | mean | group-relative |
| dr_grpo | token | sum / longest allowed | centred |
| cispo | token, gradient never clipped | sum / mean length | group-relative |
| maxrl | token | mean | centred / mean reward |
| gdpo | token | mean | each reward term by itself |

On-policy (one minibatch a rollout batch) every ratio is 1, nothing is clipped, and gspo, gspo_token, gmpo, grpo
and sapo are one and the same gradient.
"""

from simpleseg_core.training.objectives import _sequence, _token  # noqa: F401  (they fill the table)
from simpleseg_core.training.objectives._table import OBJECTIVES, Answers, Objective, Surrogate, objective
from simpleseg_core.training.objectives.advantages import Rewards, group_advantages, has_variance
from simpleseg_core.training.objectives.logprobs import (
    importance_weights,
    kl_k3,
    log_ratio,
    sequence_mean,
    token_logps,
)

__all__ = [
    "OBJECTIVES",
    "Answers",
    "Objective",
    "Rewards",
    "Surrogate",
    "group_advantages",
    "has_variance",
    "importance_weights",
    "kl_k3",
    "log_ratio",
    "objective",
    "sequence_mean",
    "token_logps",
]
