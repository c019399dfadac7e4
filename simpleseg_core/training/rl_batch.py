"""What a worker of the trainer learns from: its share of the groups of a minibatch, and what is known of each answer.

Shapes: G groups (prompts) of a minibatch with n answers each; rewards are float64 (G, n).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from simpleseg_core.config import RLConfig
from simpleseg_core.rollout import Completion, Request
from simpleseg_core.training.objectives import Rewards
from simpleseg_core.training.policy import AnswerTokens, Prompts


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its sampled answers and their rewards."""

    request: Request
    completions: Sequence[Completion]
    rewards: Sequence[float]
    terms: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Each term of the rewards, for objectives that weigh terms by themselves."""


@dataclass(frozen=True, slots=True)
class Team:
    """The workers of a trainer, and which of them this is."""

    rank: int = 0
    size: int = 1
    address: str = ""
    """Where the first worker waits for the others, such as `tcp://10.0.0.1:29500`."""

    def join(self, device: str) -> None:
        """Make torch's process group; a single worker needs none."""
        if self.size > 1:
            backend = "nccl" if device == "cuda" else "gloo"
            dist.init_process_group(backend, init_method=self.address, rank=self.rank, world_size=self.size)


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer with what the objective needs to know about it."""

    answer: AnswerTokens
    index: int
    """Which answer of the update it is, counted over its groups."""
    weight: float
    """1, or 0 where there is nothing to learn: it has no token, or only keeps a worker busy."""
    advantage: float
    engine_logp: float
    """Mean log-probability of a token by the engine."""


@dataclass(frozen=True, slots=True)
class WorkerBatch:
    """A worker's share of a minibatch."""

    prompts: Prompts
    samples: Sequence[Sample]
    answers: int
    """Answers with tokens in the whole minibatch."""
    tokens: int
    """Of these answers."""


def split(size: int, parts: int) -> list[slice]:
    """Nearly equal consecutive slices of a range, none of them empty."""
    bounds = np.linspace(0, size, min(parts, size) + 1).round().astype(int).tolist()
    return [slice(*pair) for pair in pairwise(bounds)]


def samples_of(
    group: Group, advantages: Sequence[float], index: int, place: int, weight: float, end: int
) -> Iterator[Sample]:
    """The answers of a group, which is the prompt at `place` of the share; one without tokens stands as its end."""
    first = index * len(group.completions)
    for i, (completion, advantage) in enumerate(zip(group.completions, advantages, strict=True)):
        tokens = completion.token_ids
        answer = AnswerTokens(place, tokens or (end,))
        yield Sample(answer, first + i, weight * bool(tokens), advantage, _mean_logp(completion))


def rewards_of(groups: Sequence[Group], rl: RLConfig) -> Rewards:
    """The rewards of some groups, as objectives take them."""

    def table(rows: Sequence[Sequence[float]]) -> Tensor:
        return torch.tensor([list(row) for row in rows], dtype=torch.float64)

    return Rewards(
        table([group.rewards for group in groups]),
        {name: table([group.terms[name] for group in groups]) for name in groups[0].terms},
        dict(rl.rewards.weights),
        rl.normalise_std,
        rl.min_reward_spread,
    )


def _mean_logp(completion: Completion) -> float:
    return float("nan") if completion.logprob is None else completion.logprob / max(1, len(completion.token_ids))
