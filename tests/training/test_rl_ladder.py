"""Sanity ladder of reinforcement learning, on a small model in this process: what a correct system must do.

Its last rungs are elsewhere: two engines give what one gives (`test_rl.py`), and two workers of the trainer learn what
one learns (`test_rl_trainer.py`).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simpleseg_core.config import OptimizerConfig, RLConfig
from simpleseg_core.data.records import PROMPTS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.rollout import Sampling
from simpleseg_core.training.rl_batch import Group
from simpleseg_core.training.rl_rollout import SampledStep, Sampler, requests_of
from simpleseg_core.training.rl_trainer import Trainer, TrainerSpec
from tests.tiny import TINY
from tests.training.reinforcement import Here, configuration

Rewarded = Callable[[SampledStep], list[Group]]


class School:
    """A trainer and an engine that take turns, and what was measured."""

    def __init__(self, rl: RLConfig, data: Path, model: Path, work: Path) -> None:
        config = configuration().model_copy(update={"rl": rl})
        self._rows = read_rows(data / "dataset" / "rl.parquet", PROMPTS)
        self._engine, self._images, self._rl = Here(config, model), ImageStore(data), rl
        self._sampler = Sampler(rl, 0, self._rows, self._images, self._engine)
        self._trainer = Trainer(TrainerSpec(rl, TINY, str(model), work, "mark", "cpu"))
        self.curves: list[dict[str, float]] = []

    def learn(self, steps: int, rewarded: Rewarded = lambda rollout: rollout.groups) -> None:
        cursor = 0
        for step in range(steps):
            rollout = self._sampler.roll_out(step, cursor)
            cursor += len(rollout.scored)
            measured = self._trainer.update(rewarded(rollout), step).summary()
            self.curves.append(rollout.metrics(step) | measured)
            packed = self._trainer.weights(step + 1)
            assert packed is not None
            self._engine.load_weights(packed.unpack())

    def mean_length(self) -> float:
        sampling = Sampling(40, 1.0, n=16, seed=1)
        answers = self._engine.generate(requests_of(self._rows, self._images), sampling)
        return float(np.mean([len(answer.token_ids) for group in answers for answer in group]))


def settings(lr: float = 2e-4, minibatches: int = 1) -> RLConfig:
    rl = configuration(prompts=6, group_size=8, minibatches=minibatches, max_resample=0, min_spread=0).rl
    optimizer = OptimizerConfig(lr=1.0, min_lr=0.0, warmup_ratio=0.0, weight_decay=0.0)
    return rl.model_copy(update={"optimizer": optimizer.model_copy(update={"lr": lr, "min_lr": lr})})


@pytest.fixture
def enrol(data: Path, taught: Path, tmp_path: Path) -> Callable[[RLConfig], School]:
    return lambda rl: School(rl, data, taught, tmp_path)


def rewarded_with(reward: Callable[[Group], list[float]]) -> Rewarded:
    return lambda rollout: [replace(each.group, rewards=reward(each.group)) for each in rollout.scored]


def shortness(group: Group) -> list[float]:
    return [1 - len(answer.token_ids) / 40 for answer in group.completions]


def shuffled(seed: int) -> Rewarded:
    random = np.random.default_rng(seed)
    return rewarded_with(lambda group: random.permutation(shortness(group)).tolist())


def change_of_length(school: School, rewarded: Rewarded) -> float:
    before = school.mean_length()
    school.learn(8, rewarded)
    return school.mean_length() / before - 1


def test_a_reward_for_short_outputs_shortens_them(enrol: Callable[[RLConfig], School]) -> None:
    assert change_of_length(enrol(settings()), rewarded_with(shortness)) < -0.15


def test_the_same_rewards_shuffled_only_drift(enrol: Callable[[RLConfig], School]) -> None:
    """One walk drifts by 0 to 9%, by the machine's rounding; rewards in their places shorten by 27%."""
    changes = [change_of_length(enrol(settings()), shuffled(seed)) for seed in range(4)]
    assert abs(np.mean(changes)) < 0.1


def test_without_a_rate_ratios_stay_one(enrol: Callable[[RLConfig], School]) -> None:
    still, moving = enrol(settings(lr=0.0, minibatches=3)), enrol(settings(lr=1e-3, minibatches=3))
    still.learn(2)
    moving.learn(1)
    assert [curve["ratio_deviation_max"] for curve in still.curves] == pytest.approx([0, 0], abs=1e-6)
    assert moving.curves[0]["ratio_deviation_max"] > 1e-3


def test_engine_and_trainer_agree_after_every_transfer(enrol: Callable[[RLConfig], School]) -> None:
    """To 1e-5 a token in float32, though each step has moved the policy by far more."""
    school = enrol(settings())
    random = np.random.default_rng(0)
    school.learn(4, rewarded_with(lambda group: random.random(len(group.rewards)).tolist()))
    assert max(curve["engine_gap_max"] for curve in school.curves) < 1e-5
    assert len({curve["entropy_estimate"] for curve in school.curves}) == 4
