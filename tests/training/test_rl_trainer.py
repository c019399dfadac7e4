"""The GSPO trainer: rewarded answers become likelier, checkpoints go on exactly, old ones of other runs are ignored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simpleseg_core.config import OptimizerConfig, RLConfig
from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.rollout import Completion, Request, forbidden_ids, read_weights
from simpleseg_core.training.objectives import OBJECTIVES
from simpleseg_core.training.policy import AnswerTokens, Policy
from simpleseg_core.training.rl_batch import Group, Team
from simpleseg_core.training.rl_trainer import Resumed, Trainer, TrainerSpec
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


def handed_over(trainer: Trainer) -> dict[str, torch.Tensor]:
    packed = trainer.weights(version=0)
    assert packed is not None
    return {name: value.clone() for name, value in packed.unpack().items()}


def mean_logps(folder: Path, weights: dict[str, torch.Tensor], groups: list[Group]) -> torch.Tensor:
    """Mean log-probability of each answer, (groups, answers), under weights that a trainer handed over.

    They bear the names of checkpoints, which only `from_pretrained` reads, not those of modules.
    """
    start, processor = load_model(folder, TINY), load_processor(folder, TINY)
    config = type(start.config).from_pretrained(folder)
    model = type(start).from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)
    policy = Policy(model, processor, forbidden_ids(str(folder)), 1.0)
    prompts = policy.encode([group.request for group in groups])
    answers = [AnswerTokens(i, c.token_ids) for i, group in enumerate(groups) for c in group.completions]
    with torch.no_grad():
        logps, mask = policy.logps(prompts, policy.image_features(prompts).values, answers)
    return (logps.sum(-1) / mask.sum(-1)).reshape(len(groups), -1)


@pytest.mark.parametrize("minibatches", [1, 2])
def test_rewarded_answers_become_likelier(spec: TrainerSpec, groups: list[Group], minibatches: int) -> None:
    trainer = Trainer(replace(spec, rl=RL.model_copy(update={"minibatches": minibatches})))
    before = mean_logps(Path(spec.start), handed_over(trainer), groups)
    metrics = trainer.update(groups, step=0).summary()
    gained = mean_logps(Path(spec.start), handed_over(trainer), groups) - before
    assert (gained[:, 3] > gained[:, 0]).all()
    assert metrics["grad_norm"] > 0
    assert metrics["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_makes_rewarded_answers_likelier(spec: TrainerSpec, groups: list[Group], name: str) -> None:
    weights = RewardConfig(weights={"iou": 1.0, "distance": 0.5, "format": 0.0})
    rl = RL.model_copy(update={"objective": name, "minibatches": 2, "rewards": weights})
    trainer = Trainer(replace(spec, rl=rl))
    with_terms = [replace(group, terms={"iou": group.rewards, "distance": group.rewards}) for group in groups]
    before = mean_logps(Path(spec.start), handed_over(trainer), groups)
    trainer.update(with_terms, step=0)
    gained = mean_logps(Path(spec.start), handed_over(trainer), groups) - before
    assert (gained[:, 3] > gained[:, 0]).all()


def test_the_engines_difference_is_corrected_and_reported_apart(spec: TrainerSpec, groups: list[Group]) -> None:
    """An engine that found every answer far less likely than the trainer: all weights are cut at the cap."""
    capped = replace(spec, rl=RL.model_copy(update={"importance_cap": 2.0}))
    odd = [replace(g, completions=[completion(c.token_ids, -1e3) for c in g.completions]) for g in groups]
    plain, corrected = (Trainer(each).update(odd, step=0).summary() for each in (spec, capped))
    assert "importance_weight" not in plain
    assert (corrected["importance_weight"], corrected["importance_cut"]) == (2.0, 1.0)
    assert corrected["grad_norm"] == pytest.approx(2 * plain["grad_norm"], rel=1e-4)


def test_the_noise_of_the_gradient_is_measured_every_so_often(spec: TrainerSpec, groups: list[Group]) -> None:
    """In micro-batches of other answers than else, which changes the sum of their gradients by rounding only."""
    rl = RL.model_copy(update={"micro_batch_size": 4, "noise_every": 2})
    watched, plain = Trainer(replace(spec, rl=rl)), Trainer(replace(spec, rl=rl.model_copy(update={"noise_every": 0})))
    assert "gradient_signal" not in watched.update(groups, step=0).summary()
    plain.update(groups, step=0)
    metrics = watched.update(groups, step=1).summary()
    assert 0 <= metrics["gradient_signal"] < 1
    assert metrics["grad_norm"] == pytest.approx(plain.update(groups, step=1).summary()["grad_norm"], rel=1e-4)


def test_on_policy_ratios_are_one(spec: TrainerSpec, groups: list[Group]) -> None:
    metrics = Trainer(spec).update(groups, step=0).summary()
    assert metrics["ratio_deviation_max"] == 0
    assert metrics["clip_fraction"] == 0


def test_later_minibatches_are_off_policy_and_clipped(spec: TrainerSpec, groups: list[Group]) -> None:
    trainer = Trainer(replace(spec, rl=RL.model_copy(update={"minibatches": 2})))
    metrics = trainer.update([*groups, *groups], step=0).summary()
    assert metrics["ratio_deviation_max"] > 4e-4
    assert 0 < metrics["clip_fraction"] < 1


def test_engine_gap_is_measured_for_each_token(spec: TrainerSpec, groups: list[Group]) -> None:
    """An engine that is off by 0.01 a token shows as 0.01, whatever the lengths."""
    trainer = Trainer(spec)
    exact = mean_logps(Path(spec.start), handed_over(trainer), groups)
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
    metrics = trainer.update(shifted, step=0).summary()
    assert metrics["engine_gap"] == pytest.approx(0.01, abs=1e-4)
    assert metrics["engine_gap_max"] == pytest.approx(0.01, abs=1e-4)


def test_a_step_that_is_not_finite_is_not_taken(spec: TrainerSpec, groups: list[Group]) -> None:
    trainer = Trainer(spec)
    trainer.save(1, cursor=2)
    with torch.no_grad():
        next(trainer._model.parameters()).view(-1)[0] = torch.nan
    before = handed_over(trainer)
    with pytest.raises(FloatingPointError, match=r"rl: step 2 was not taken.*lower rl\.optimizer\.lr"):
        trainer.update(groups, step=1)
    after = handed_over(trainer)
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
    kept = torch.load(spec.work / "not-finite" / "step-000002.pt", weights_only=True)["batch"]
    answers = sorted((c.token_ids for group in groups for c in group.completions), key=len)
    assert sorted((s["answer"]["token_ids"] for s in kept["samples"]), key=len) == answers
    assert len(kept["prompts"]["ids"]) == len(groups)
    assert Trainer(spec).resume().step == 1


def test_answers_without_tokens_divide_by_nothing(spec: TrainerSpec, groups: list[Group]) -> None:
    some = replace(groups[0], completions=[completion([], 0.0), *groups[0].completions[1:]])
    none = replace(groups[0], completions=[completion([], 0.0)] * 4)
    trainer = Trainer(spec)
    metrics = trainer.update([some, groups[1]], step=0).summary()
    assert all(np.isfinite(value) for value in metrics.values())
    assert trainer.update([none], step=1).summary() == {}


def test_kl_holds_the_policy_near_the_start(spec: TrainerSpec, groups: list[Group]) -> None:
    def drift(weight: float) -> float:
        trainer = Trainer(replace(spec, rl=RL.model_copy(update={"kl": weight})))
        return [trainer.update(groups, step=0).summary()["kl"] for _ in range(4)][-1]

    assert drift(20.0) < 0.5 * drift(1e-6)


def test_resumed_training_equals_uninterrupted_training(spec: TrainerSpec, groups: list[Group], tmp_path: Path) -> None:
    whole = Trainer(replace(spec, work=tmp_path / "whole"))
    for step in range(4):
        whole.update(groups, step)

    first = Trainer(spec)
    assert first.resume() == Resumed(0, 0, [])
    for step in range(2):
        first.update(groups, step)
    first.save(2, cursor=6)
    first.update(groups, step=2)  # lost: the process is killed before the next checkpoint

    second = Trainer(spec)
    assert second.resume() == Resumed(2, 6, [])
    for step in range(2, 4):
        second.update(groups, step)
    expected = handed_over(whole)
    for name, value in handed_over(second).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_checkpoint_of_another_run_is_not_used(spec: TrainerSpec, groups: list[Group]) -> None:
    trainer = Trainer(spec)
    trainer.update(groups, step=0)
    trainer.save(1, cursor=2)
    other = Trainer(replace(spec, fingerprint="another")).resume()
    assert (other.step, other.cursor) == (0, 0)
    assert [str(spec.work / "checkpoints" / "fingerprint") in note for note in other.notes] == [True]


def test_the_result_is_an_ordinary_checkpoint(spec: TrainerSpec, groups: list[Group], tmp_path: Path) -> None:
    trainer = Trainer(spec)
    trainer.update(groups, step=0)
    expected = handed_over(trainer)
    trainer.finish(tmp_path / "model")
    torch.testing.assert_close(dict(read_weights(tmp_path / "model")), expected, rtol=0, atol=0)
    assert load_model(tmp_path / "model", TINY)
    assert load_processor(tmp_path / "model", TINY).tokenizer.decode([10])
    assert not list((spec.work / "checkpoints").glob("*"))


def worker_of_two(rank: int, spec: TrainerSpec, groups: list[Group], rendezvous: Path, result: Path) -> None:
    """Two updates, a checkpoint after the first, which both workers load before the second."""
    torch.set_num_threads(1)
    trainer = Trainer(spec, Team(rank, 2, f"file://{rendezvous}"))
    trainer.update(groups, 0)
    trainer.save(1, cursor=3)
    assert trainer.resume().step == 1
    measured = trainer.update(groups, 1)
    packed = trainer.weights(version=2)
    assert (packed is None) == (rank > 0)
    weights = {} if packed is None else {name: value.clone() for name, value in packed.unpack().items()}
    torch.save({"weights": weights, "values": dict(measured.values)}, result.with_suffix(f".{rank}"))
    torch.distributed.destroy_process_group()


def test_two_workers_learn_what_one_learns(spec: TrainerSpec, groups: list[Group], tmp_path: Path) -> None:
    """Three groups, so that a worker is idle once; images are encoded one at a time; one answer has no token."""
    rl = RL.model_copy(update={"images_at_once": 1, "kl": 0.1})
    spec = replace(spec, rl=rl)
    third = replace(groups[0], completions=[completion([], 0.0), *groups[1].completions[1:]])
    groups = [*groups, third]
    alone = Trainer(replace(spec, work=tmp_path / "alone"))
    alone.update(groups, 0)
    measured = alone.update(groups, 1)

    torch.multiprocessing.spawn(worker_of_two, (spec, groups, tmp_path / "rendezvous", tmp_path / "two"), nprocs=2)
    first, second = (torch.load(tmp_path / f"two.{rank}", weights_only=True) for rank in range(2))
    torch.testing.assert_close(first["weights"], handed_over(alone), rtol=1e-4, atol=2e-5)
    answers = sorted(first["values"]["answer"] + second["values"]["answer"])
    assert answers == sorted(measured.values["answer"]) == [*range(8), 9, 10, 11]
    assert first["values"]["grad_norm"] == pytest.approx(measured.values["grad_norm"], rel=1e-3)
