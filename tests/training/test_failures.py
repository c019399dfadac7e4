"""What ends a training early: a worker that dies, SIGTERM, a fault that would come again, too little memory."""

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from simpleseg_core.config import Config, OptimizerConfig, RayConfig, TrainConfig
from simpleseg_core.contract import Context
from simpleseg_core.journal import Journal
from simpleseg_core.training.failures import fault_file, stop_file, telling_faults
from simpleseg_core.training.launch import launch
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, losses


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path) -> SupervisedRun:
    settings = TrainConfig(
        batch_size=8,
        micro_batch_size=4,
        threads=1,
        log_every=1,
        checkpoint_every=3,
        probe_every=1,
        optimizer=OptimizerConfig(lr=1e-3, warmup_ratio=0),
    )
    return SupervisedRun(
        "sft", 0, 10, settings, TINY, str(tiny_checkpoint), FourColours(), tmp_path / "model", tmp_path / "work", "same"
    )


@dataclass(frozen=True)
class Trouble:
    """Kills its worker behind step 5, and has the driver told to end behind step 7; each once."""

    work: Path
    driver: int

    def __call__(self, model: object, processor: object, events: Journal, step: int) -> None:
        if step == 5 and self._once("killed"):
            while not list(self.work.glob("checkpoints/*/step-000003")):  # it is written while the steps go on
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 7 and self._once("told"):
            os.kill(self.driver, signal.SIGTERM)
            while not stop_file(self.work).exists():
                time.sleep(0.01)

    def _once(self, name: str) -> bool:
        mark = self.work / name
        return not mark.exists() and mark.write_text("") == 0


@pytest.mark.slow
def test_a_killed_worker_starts_again_and_sigterm_saves(run: SupervisedRun, tmp_path: Path) -> None:
    """Both in one run, which then ends as if nothing had happened."""
    config = Config(model=TINY, sft=run.train, ray=RayConfig(num_cpus=2))
    troubled = replace(run, probe=Trouble(run.work, os.getpid()))
    context = Context(run.work, Journal(run.work))
    with pytest.raises(KeyboardInterrupt):
        launch(troubled, config, context)
    assert begins(run) == [0, 3], "the second worker went on from the newest checkpoint"
    assert max(losses(run)) == 8, "the step behind SIGTERM was the last"
    train(run, torch.device("cpu"))
    assert begins(run) == [0, 3, 8]
    through = replace(run, output=tmp_path / "through", work=tmp_path / "other")
    train(through, torch.device("cpu"))
    one, other = (load_file(each.output / "model.safetensors") for each in (run, through))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])


def begins(run: SupervisedRun) -> list[int]:
    return [event["begin"] for _, event in Journal(run.work).read() if "begin" in event]


def test_asked_too_late_a_run_ends_as_it_would(run: SupervisedRun) -> None:
    def ask(model: object, processor: object, events: Journal, step: int) -> None:
        if step == 10:
            stop_file(run.work).touch()

    train(replace(run, probe=ask), torch.device("cpu"))
    assert (run.output / "model.safetensors").exists() and not stop_file(run.work).exists()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ValueError("an odd sample"), True),
        (FloatingPointError("step 3 was not taken"), True),
        (RuntimeError("Connection closed by peer"), False),
        (OSError("no route to host"), False),
    ],
)
def test_a_fault_that_would_come_again_is_not_tried_again(run: SupervisedRun, error: Exception, again: bool) -> None:
    with pytest.raises(type(error), match=str(error)), telling_faults(run):
        raise error
    assert fault_file(run.work).exists() == again
    if again:
        assert fault_file(run.work).read_text() == f"{type(error).__name__}: {error}"


def test_out_of_memory_names_the_settings_that_help_and_are_not_set_yet(run: SupervisedRun) -> None:
    settings = run.train.model_copy(update={"loss_chunk": 64, "micro_batch_size": 1, "strategy": "fsdp2"})
    with pytest.raises(MemoryError) as error, telling_faults(replace(run, train=settings)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore lines.")
    assert str(error.value) == (
        "sft: out of memory: set sft.gradient_checkpointing to true, or raise sft.workers, or set sft.lora, or lower "
        "model.max_pixels (CUDA out of memory. Tried to allocate 2 GiB.)"
    )
    with pytest.raises(MemoryError, match=r"lower sft\.micro_batch_size, which is 4, or set sft\.loss_chunk"):
        with telling_faults(run):
            torch.empty(2**48)
