"""The supervised loop: it learns, it resumes exactly, and it ends in an ordinary checkpoint."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from simpleseg_core.config import ContourConfig, DatasetConfig, OptimizerConfig, Phase, RefShapesConfig, TrainConfig
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.journal import Journal
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.samples import Conversation, SceneStream, loaders
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, losses

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path) -> SupervisedRun:
    optimizer = OptimizerConfig(name="muon", lr=1e-2, warmup_ratio=0.1)
    settings = TrainConfig(
        batch_size=8, micro_batch_size=4, optimizer=optimizer, log_every=1, checkpoint_every=3, threads=1
    )
    return SupervisedRun(
        "sft",
        0,
        8,
        settings,
        TINY,
        str(tiny_checkpoint),
        FourColours(),
        tmp_path / "model",
        tmp_path / "work",
        "fingerprint",
    )


def test_the_loss_falls_and_the_model_can_be_loaded(run: SupervisedRun) -> None:
    train(run, CPU)
    logged = losses(run)
    assert list(logged) == list(range(1, 9))
    assert logged[8] < 0.7 * logged[1]
    assert load_model(run.output, TINY).num_parameters() > 0
    assert load_processor(run.output, TINY).tokenizer.decode([1])


def test_batches_prepared_in_other_processes_teach_the_same(run: SupervisedRun, tmp_path: Path) -> None:
    train(run, CPU)
    helped = run.train.model_copy(update={"loader_workers": 2})
    other = replace(run, train=helped, output=tmp_path / "other", work=tmp_path / "elsewhere")
    train(other, CPU)
    assert losses(other) == losses(run)
    assert (other.output / "model.safetensors").read_bytes() == (run.output / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("cores", "world_size", "threads", "count"),
    [(2, 1, 2, 0), (4, 1, 2, 1), (96, 8, 8, 3), (192, 8, 8, 4), (1, 2, 1, 0)],
)
def test_cores_that_are_left_prepare_batches(
    run: SupervisedRun, monkeypatch: pytest.MonkeyPatch, cores: int, world_size: int, threads: int, count: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    assert loaders(run.train.model_copy(update={"threads": threads}), world_size) == count
    assert loaders(run.train.model_copy(update={"loader_workers": 7}), world_size) == 7


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[object, object, Journal, int], None]:
    def probe(model: object, processor: object, events: Journal, now: int) -> None:
        if now == step:
            raise Killed

    return probe


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(run: SupervisedRun, tmp_path: Path, optimizer: str) -> None:
    settings = run.train.model_copy(
        update={"probe_every": 1, "optimizer": run.train.optimizer.model_copy(update={"name": optimizer})}
    )
    killed = replace(run, train=settings, probe=kill_at(5))
    with pytest.raises(Killed):
        train(killed, CPU)
    train(replace(killed, probe=None), CPU)
    assert list(losses(run)) == [1, 2, 3, 4, 5, 6, 7, 8]
    through = replace(run, train=settings, output=tmp_path / "through", work=tmp_path / "other")
    train(through, CPU)
    one, other = (load_file(path / "model.safetensors") for path in (run.output, through.output))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])


def test_a_run_goes_on_when_only_operational_settings_change(run: SupervisedRun) -> None:
    """How often it logs and how a step is cut up are no reason to lose what was learned."""
    killed = replace(run, train=run.train.model_copy(update={"probe_every": 1}), probe=kill_at(5))
    with pytest.raises(Killed):
        train(replace(killed, fingerprint=fingerprint(train=killed.train)), CPU)
    others = {"log_every": 2, "checkpoint_every": 100, "micro_batch_size": 2, "max_length": 512, "threads": 2}
    settings = run.train.model_copy(update=others)
    train(replace(run, train=settings, fingerprint=fingerprint(train=settings)), CPU)
    events = [json.loads(line) for line in (run.work / "events.jsonl").read_text().splitlines()]
    assert [event["begin"] for event in events if "begin" in event] == [0, 3]


def test_a_damaged_checkpoint_is_passed_over_and_said(run: SupervisedRun) -> None:
    killed = replace(run, train=run.train.model_copy(update={"probe_every": 1}), probe=kill_at(7))
    with pytest.raises(Killed):
        train(killed, CPU)
    newest = max(run.work.rglob("step-*"))
    [share] = newest.glob("*.safetensors")
    share.write_bytes(share.read_bytes()[:-1000])
    train(replace(killed, probe=None), CPU)
    events = [json.loads(line) for line in (run.work / "events.jsonl").read_text().splitlines()]
    assert [event["begin"] for event in events if "begin" in event] == [0, 3]
    [note] = [event["note"] for event in events if "note" in event]
    assert f"{newest}.damaged" in note


def test_a_step_that_is_not_finite_is_not_taken(run: SupervisedRun) -> None:
    """One weight becomes NaN behind step 4: step 5 changes nothing, and the state of step 3 is still there."""
    models, before = list[torch.nn.Module](), dict[str, torch.Tensor]()

    def poison(model: torch.nn.Module, processor: object, events: Journal, now: int) -> None:
        if now == 4:
            with torch.no_grad():
                next(model.parameters()).view(-1)[0] = torch.nan
            models.append(model)
            before.update({name: value.clone() for name, value in model.state_dict().items()})

    poisoned = replace(run, train=run.train.model_copy(update={"probe_every": 1}), probe=poison)  # type: ignore[arg-type]
    with pytest.raises(FloatingPointError, match=r"sft: step 5 was not taken.*lower sft\.optimizer\.lr"):
        train(poisoned, CPU)
    torch.testing.assert_close(dict(models[0].state_dict()), before, rtol=0, atol=0, equal_nan=True)
    kept = torch.load(run.work / "not-finite" / "step-000005.pt", weights_only=True)
    assert [batch["labels"].shape[0] for batch in kept["batch"]] == [4, 4]
    clean = load_model(run.start, TINY)
    assert clean(**kept["batch"][0]["inputs"]).logits.isfinite().all()
    assert [path.name for path in run.work.glob("checkpoints/*/step-*")] == ["step-000003"]
    train(run, CPU)
    assert list(losses(run)) == list(range(1, 9))


class Silent:
    """Conversations in which nothing is said."""

    def __getitem__(self, index: int) -> Conversation:
        return Conversation(FourColours()[index].image, ("what is here",), ())


def test_a_batch_without_learned_tokens_divides_by_nothing(run: SupervisedRun) -> None:
    train(replace(run, samples=Silent(), steps=1), CPU)
    assert losses(run) == {1: 0.0}
    weights = load_file(run.output / "model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_micro_batches_do_not_change_the_step(run: SupervisedRun, tmp_path: Path) -> None:
    whole = replace(
        run,
        steps=2,
        train=run.train.model_copy(update={"micro_batch_size": 8}),
        output=tmp_path / "whole",
        work=tmp_path / "whole-work",
    )
    for each in (replace(run, steps=2), whole):
        train(each, CPU)
    assert losses(whole) == pytest.approx(losses(replace(run, steps=2)), rel=1e-4)


def test_the_stream_gives_each_sample_its_phase_and_the_same_scene_again() -> None:
    phases = (Phase(until=0.5, tasks={"count": 1}, max_objects=1), Phase(tasks={"text->mask": 1}, max_turns=2))
    stream = SceneStream(RefShapesConfig(), phases, DatasetConfig(), ContourConfig(tolerance=0.02), total=20, seed=3)
    first, last = stream[2], stream[18]
    assert all(answer.isdigit() for answer in first.answers)
    assert all(answer.startswith("[") for answer in last.answers) and 1 <= len(last.answers) <= 2
    assert stream[18].answers == last.answers
    assert np.array_equal(np.asarray(stream[18].image), np.asarray(last.image))
