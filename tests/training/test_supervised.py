"""The supervised loop: it learns, it resumes exactly, and it ends in an ordinary checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from simpleseg_core.config import ContourConfig, DatasetConfig, OptimizerConfig, Phase, RefShapesConfig, TrainConfig
from simpleseg_core.models import load_model, load_processor
from simpleseg_core.training.events import EventWriter
from simpleseg_core.training.samples import SceneStream
from simpleseg_core.training.supervised import SupervisedRun, train
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


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[object, object, EventWriter, int], None]:
    def probe(model: object, processor: object, events: EventWriter, now: int) -> None:
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
