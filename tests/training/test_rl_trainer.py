"""The GSPO trainer: rewarded answers become likelier, checkpoints go on exactly, old ones of other runs are ignored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simpleseg_core.config import OptimizerConfig, RLConfig
from simpleseg_core.models import load_model, load_processor
from simpleseg_core.rollout import Completion, Request, forbidden_ids, read_weights
from simpleseg_core.training.policy import Answer, Policy
from simpleseg_core.training.rl_trainer import Group, Trainer, TrainerSpec
from tests.tiny import TINY

RL = RLConfig(
    steps=4,
    prompts=2,
    group_size=4,
    minibatches=1,
    micro_batch_size=3,
    optimizer=OptimizerConfig(lr=1e-3, min_lr=1e-3, warmup_ratio=0.0, weight_decay=0.0),
)


@pytest.fixture
def spec(tiny_checkpoint: Path, tmp_path: Path) -> TrainerSpec:
    return TrainerSpec(RL, TINY, str(tiny_checkpoint), tmp_path / "work", "fingerprint", "cpu")


@pytest.fixture
def groups() -> list[Group]:
    """Two prompts, each with answers of which the later ones earned more."""
    random = np.random.default_rng(0)
    made = []
    for question in ("where", "outline of the red circle"):
        image = Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        completions = [completion(random.integers(10, 200, size).tolist()) for size in (3, 7, 5, 4)]
        made.append(Group(Request(image, question), completions, (0.0, 0.2, 0.6, 1.0)))
    return made


def completion(token_ids: Sequence[int], logprob: float | None = -10.0) -> Completion:
    return Completion("", tuple(token_ids), True, logprob)


def mean_logps(folder: Path, weights: Path, groups: list[Group]) -> torch.Tensor:
    """Mean log-probability of each answer, (groups, answers), under weights that a trainer handed over."""
    model, processor = load_model(folder, TINY), load_processor(folder, TINY)
    model.load_state_dict(dict(read_weights(weights)), strict=False)
    policy = Policy(model, processor, forbidden_ids(str(folder)), 1.0)
    prompts = policy.encode([group.request for group in groups])
    answers = [Answer(i, c.token_ids) for i, group in enumerate(groups) for c in group.completions]
    with torch.no_grad():
        logps, mask = policy.logps(prompts, policy.image_features(prompts), answers)
    return (logps.sum(-1) / mask.sum(-1)).reshape(len(groups), -1)


def handed_over(trainer: Trainer, path: Path) -> dict[str, torch.Tensor]:
    trainer.write_weights(path)
    return dict(read_weights(path))


@pytest.mark.parametrize("minibatches", [1, 2])
def test_rewarded_answers_become_likelier(
    spec: TrainerSpec, groups: list[Group], tmp_path: Path, minibatches: int
) -> None:
    trainer = Trainer(replace(spec, rl=RL.model_copy(update={"minibatches": minibatches})))
    weights = tmp_path / "model.safetensors"
    trainer.write_weights(weights)
    before = mean_logps(Path(spec.start), weights, groups)
    metrics = trainer.update(groups, step=0)
    trainer.write_weights(weights)
    gained = mean_logps(Path(spec.start), weights, groups) - before
    assert (gained[:, 3] > gained[:, 0]).all()
    assert metrics["grad_norm"] > 0
    assert metrics["lr"] == pytest.approx(1e-3)


def test_on_policy_ratios_are_one(spec: TrainerSpec, groups: list[Group]) -> None:
    metrics = Trainer(spec).update(groups, step=0)
    assert metrics["ratio_deviation_max"] == 0
    assert metrics["clip_fraction"] == 0


def test_later_minibatches_are_off_policy_and_clipped(spec: TrainerSpec, groups: list[Group]) -> None:
    metrics = Trainer(replace(spec, rl=RL.model_copy(update={"minibatches": 2}))).update([*groups, *groups], step=0)
    assert metrics["ratio_deviation_max"] > RL.clip_high
    assert 0 < metrics["clip_fraction"] < 1


def test_engine_gap_is_measured_for_each_token(spec: TrainerSpec, groups: list[Group], tmp_path: Path) -> None:
    """An engine that is off by 0.01 a token shows as 0.01, whatever the lengths."""
    trainer = Trainer(spec)
    trainer.write_weights(tmp_path / "model.safetensors")
    exact = mean_logps(Path(spec.start), tmp_path / "model.safetensors", groups)
    shifted = [
        replace(
            group,
            completions=[
                completion(c.token_ids, float(mean + 0.01) * len(c.token_ids))
                for c, mean in zip(group.completions, row, strict=True)
            ],
        )
        for group, row in zip(groups, exact, strict=True)
    ]
    metrics = trainer.update(shifted, step=0)
    assert metrics["engine_gap"] == pytest.approx(0.01, abs=1e-4)
    assert metrics["engine_gap_max"] == pytest.approx(0.01, abs=1e-4)


def test_kl_holds_the_policy_near_the_start(spec: TrainerSpec, groups: list[Group]) -> None:
    def drift(weight: float) -> float:
        trainer = Trainer(replace(spec, rl=RL.model_copy(update={"kl": weight})))
        return [trainer.update(groups, step=0)["kl"] for _ in range(4)][-1]

    assert drift(20.0) < 0.5 * drift(1e-6)


def test_resumed_training_equals_uninterrupted_training(spec: TrainerSpec, groups: list[Group], tmp_path: Path) -> None:
    whole = Trainer(replace(spec, work=tmp_path / "whole"))
    for step in range(4):
        whole.update(groups, step)

    first = Trainer(spec)
    assert first.resume() == (0, 0)
    for step in range(2):
        first.update(groups, step)
    first.save(2, cursor=6)
    first.update(groups, step=2)  # lost: the process is killed before the next checkpoint

    second = Trainer(spec)
    assert second.resume() == (2, 6)
    for step in range(2, 4):
        second.update(groups, step)
    expected = handed_over(whole, tmp_path / "a.safetensors")
    for name, value in handed_over(second, tmp_path / "b.safetensors").items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_checkpoint_of_another_run_is_not_used(spec: TrainerSpec, groups: list[Group]) -> None:
    trainer = Trainer(spec)
    trainer.update(groups, step=0)
    trainer.save(1, cursor=2)
    assert Trainer(replace(spec, fingerprint="another")).resume() == (0, 0)


def test_the_result_is_an_ordinary_checkpoint(spec: TrainerSpec, groups: list[Group], tmp_path: Path) -> None:
    trainer = Trainer(spec)
    trainer.update(groups, step=0)
    expected = handed_over(trainer, tmp_path / "model.safetensors")
    trainer.finish(tmp_path / "model")
    loaded = load_model(tmp_path / "model", TINY).state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)
    assert load_processor(tmp_path / "model", TINY).tokenizer.decode([10])
    assert not (spec.work / "checkpoints").exists()
