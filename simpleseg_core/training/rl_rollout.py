"""What a step of reinforcement learning learns from: prompts drawn, answered and scored.

Shapes: G prompts (groups) of a draw, n answers for each; rewards are float64 (G, n), and flat (G n,) where answers are
scored, the answers to a prompt side by side.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from simpleseg_core.config import RLConfig
from simpleseg_core.data.outlines import row_rle
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.grammar import Style, parse_polygons
from simpleseg_core.rewards import RewardBatch, RewardFunction
from simpleseg_core.rollout import Completion, Request, Sampling
from simpleseg_core.training.objectives import has_variance
from simpleseg_core.training.order import EpochOrder
from simpleseg_core.training.rl_batch import Group
from simpleseg_core.training.rl_engines import Answered

Row = Mapping[str, Any]
"""A row of PROMPTS."""


class Engines(Protocol):
    """What answers requests part by part."""

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answered]:
        """Answers as they come, in any order."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A prompt with its answers and what they earned."""

    row: Row
    group: Group
    version: int
    """Steps of training behind the weights that answered."""
    trained: bool
    """Whether the rewards differ enough to teach anything."""


@dataclass(slots=True)
class SampledStep:
    """What one step has sampled."""

    style: Style | None = None
    """That the prompts ask for."""
    scored: list[Scored] = field(default_factory=list)
    """All prompts drawn, those without variance included."""
    failed: int = 0
    """Answers whose reward raised, or had no end."""
    workers_replaced: int = 0
    reward_s: float = 0.0
    seconds: float = 0.0

    @property
    def groups(self) -> list[Group]:
        """Those worth training on."""
        return [each.group for each in self.scored if each.trained]

    def metrics(self, step: int) -> dict[str, float]:
        """Statistics over all answers of a step, in which `step` steps were done."""
        groups = [each.group for each in self.scored]
        answers = [completion for group in groups for completion in group.completions]
        rewards = np.concatenate([group.rewards for group in groups])
        terms = {name: np.concatenate([group.terms[name] for group in groups]) for name in groups[0].terms}
        tokens = [len(answer.token_ids) for answer in answers]
        return {
            "reward": float(rewards.mean()),
            "reward_std": float(rewards.std()),
            **{f"reward_{name}": float(values.mean()) for name, values in terms.items()},
            "reward_failed": float(self.failed),
            "reward_workers_replaced": float(self.workers_replaced),
            "valid": float(
                np.mean([parse_polygons(answer.text, style=self.style).error is None for answer in answers])
            ),
            "answer_tokens": float(np.mean(tokens)),
            "truncated": float(np.mean([not answer.finished for answer in answers])),
            "zero_variance": 1 - len(self.groups) / len(groups),
            "staleness": float(step - min(each.version for each in self.scored)),
            "rollout_s": self.seconds,
            "reward_s": self.reward_s,
            "rollout_tokens_per_s": sum(tokens) / self.seconds,
        }


class Sampler:
    """Draws prompts in a seeded order and has them answered; the same seed gives the same answers."""

    def __init__(self, rl: RLConfig, seed: int, prompts: Sequence[Row], images: ImageStore, engines: Engines) -> None:
        self._rl, self._seed, self._prompts, self._images, self._engines = rl, seed, prompts, images, engines
        self._order = EpochOrder(len(prompts), seed)
        self._rewards = RewardFunction(rl.rewards)

    def roll_out(self, step: int, cursor: int) -> SampledStep:
        """Sample until the batch is full of groups with different rewards, or the extra draws are used up."""
        began, rollout = time.perf_counter(), SampledStep(self._rl.rewards.style)
        for draw in range(1 + self._rl.max_resample):
            missing = self._rl.prompts - len(rollout.groups)
            if missing == 0:
                break
            rows = [self._prompts[i] for i in self._order.take(cursor + len(rollout.scored), missing)]
            self.sample(rows, derived_seed(self._seed, step, draw), rollout)
        rollout.seconds = time.perf_counter() - began
        return rollout

    def sample(self, rows: Sequence[Row], seed: int, into: SampledStep) -> None:
        """Add answers to some prompts; each part is scored while the engines are busy with the next."""
        rollout = self._rl.rollout
        sampling = Sampling(
            rollout.max_tokens, rollout.temperature, rollout.top_p, self._rl.group_size, seed, logprobs=True
        )
        requests = requests_of(rows, self._images)
        parts = dict[int, list[Scored]]()
        for part in self._engines.stream(requests, sampling):
            here = slice(part.first, part.first + len(part.answers))
            began = time.perf_counter()
            parts[part.first] = self._score(rows[here], requests[here], part, into)
            into.reward_s += time.perf_counter() - began
        into.scored += [scored for first in sorted(parts) for scored in parts[first]]

    def _score(
        self, rows: Sequence[Row], requests: Sequence[Request], part: Answered, into: SampledStep
    ) -> list[Scored]:
        size = self._rl.group_size
        flat = [completion for group in part.answers for completion in group]
        truths = [row_rle(row) for row in rows for _ in range(size)]
        scored = self._rewards([each.text for each in flat], truths, [each.finished for each in flat])
        into.failed += scored.failed
        into.workers_replaced += scored.replaced
        rewards = torch.from_numpy(scored.total).reshape(len(rows), size)
        varied = has_variance(rewards, self._rl.min_reward_spread).tolist()
        groups = map(_group, requests, part.answers, [scored] * len(rows), range(0, len(flat), size))
        return [
            Scored(row, group, part.version, differs) for row, group, differs in zip(rows, groups, varied, strict=True)
        ]


def _group(request: Request, answers: Sequence[Completion], scored: RewardBatch, first: int) -> Group:
    own = slice(first, first + len(answers))
    terms = {name: tuple(values[own].tolist()) for name, values in scored.terms.items()}
    return Group(request, answers, tuple(scored.total[own].tolist()), terms)


def requests_of(rows: Sequence[Row], images: ImageStore) -> list[Request]:
    """What an engine is asked for rows of PROMPTS."""
    return [Request(images.read(row["shard"], row["image"]), row["question"]) for row in rows]


def derived_seed(*parts: int) -> int:
    """A seed that depends on all parts."""
    return int(np.random.default_rng(parts).integers(2**31))
