"""The reward function of a batch of answers: the weighted sum and each term."""

import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.geometry import Region, Rle
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.kinds import REWARD_TERMS
from simpleseg_core.rewards._workers import ItemFailure, Workers
from simpleseg_core.rewards.terms import Answer, Term

_log = logging.getLogger(__name__)

_WARM_UP: tuple[str, Rle] = (
    "[[[0,0],[1000,0],[1000,1000]],[[0,500],[500,1000],[0,1000]]]",
    {"size": [8, 8], "counts": "0P2"},
)


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """Rewards of n answers: the total (n,) and each term's value (n,), all in [0, 1]."""

    total: NDArray[np.float64]
    terms: dict[str, NDArray[np.float64]]
    failed: int
    """Answers whose reward raised, or had no end."""
    replaced: int
    """Worker processes that had to be replaced."""


class RewardFunction:
    """Rewards as the configuration weighs them; the total is divided by the sum of weights, so that it lies in [0, 1].

    An answer that was cut off, that cannot be read, or that has more points or parts than allowed, is worth 0. So is
    one that fails: it raised, or took longer than `item_timeout_s`; those are counted. Answers are scored in processes,
    started with the first batch, so one whose scoring has no end takes its process along and nothing else.
    """

    def __init__(self, config: RewardConfig) -> None:
        self._config = config
        self._weights = _weights(config)
        self._workers = Workers(partial(_ready, config), config.workers, config.item_timeout_s)
        weakref.finalize(self, self._workers.close)

    def __reduce__(self) -> tuple[Any, ...]:
        return RewardFunction, (self._config,)

    def __call__(
        self, texts: Sequence[str], truths: Sequence[Rle], finished: Sequence[bool] | None = None
    ) -> RewardBatch:
        """Score answers against true masks.

        Args:
            finished: whether each answer ended by itself; unset: all did.

        Raises:
            ValueError: there are not as many truths, or ends, as answers.
        """
        finished = [True] * len(texts) if finished is None else finished
        if not len(texts) == len(truths) == len(finished):
            raise ValueError(
                f"{len(texts)} answers but {len(truths)} true masks and {len(finished)} ends: pass one for each"
            )
        whole = [i for i, ended in enumerate(finished) if ended]
        before = self._workers.replaced
        found = self._workers.map([(texts[i], truths[i]) for i in whole])
        values = {name: np.zeros(len(texts)) for name in self._weights}
        failed = sum(not _collect(i, scored, values) for i, scored in zip(whole, found, strict=True))
        weighted = sum((self._weights[name] * value for name, value in values.items()), np.zeros(len(texts)))
        return RewardBatch(weighted / sum(self._weights.values()), values, failed, self._workers.replaced - before)


def _collect(i: int, scored: dict[str, float] | ItemFailure, values: dict[str, NDArray[np.float64]]) -> bool:
    if isinstance(scored, ItemFailure):
        _log.warning("the reward of answer %d failed and is 0: %s", i, scored.reason)
        return False
    for name, value in scored.items():
        values[name][i] = value
    return True


def _weights(config: RewardConfig) -> dict[str, float]:
    return {name: weight for name, weight in config.weights.items() if weight > 0}


def _ready(config: RewardConfig) -> "_Scorer":
    """A scorer that has compiled what it needs: that must not eat the time of the first answers."""
    scorer = _Scorer(config, {name: REWARD_TERMS.load(name) for name in _weights(config)})
    scorer(_WARM_UP)
    return scorer


@dataclass(frozen=True)
class _Scorer:
    """Terms of one answer; none where it is worth nothing."""

    config: RewardConfig
    terms: Mapping[str, Term]

    def __call__(self, item: tuple[str, Rle]) -> dict[str, float]:
        text, truth = item
        config, target = self.config, Region.from_truth(truth)
        parsed = parse_polygons(text, style=config.style)
        points = sum(map(len, parsed.polygons))
        if parsed.error is not None or points > config.max_points or len(parsed.polygons) > config.max_parts:
            return {}
        filled = Region.from_polygons(parsed.polygons, target.height, target.width)
        answer = Answer(text, parsed.polygons, filled, target, config)
        return {name: term(answer) for name, term in self.terms.items()}
