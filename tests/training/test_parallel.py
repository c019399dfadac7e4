"""Two workers take the same steps as one, whether the model is copied (DDP) or sharded (FSDP2)."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from simpleseg_core.config import OptimizerConfig, TrainConfig
from simpleseg_core.training.events import EventWriter
from simpleseg_core.training.supervised import SupervisedRun, train
from tests.tiny import TINY, FourColours, losses


def _worker(rank: int, run: SupervisedRun, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        train(run, torch.device("cpu"), rank, 2)
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> SupervisedRun:
    folder = tmp_path_factory.mktemp("alone")
    settings = TrainConfig(
        batch_size=8,
        log_every=1,
        micro_batch_size=4,
        threads=1,
        checkpoint_every=3,
        optimizer=OptimizerConfig(lr=1e-3, warmup_ratio=0),
    )
    run = SupervisedRun(
        "sft", 0, 4, settings, TINY, str(tiny_checkpoint), FourColours(), folder / "model", folder / "work", "same"
    )
    train(run, torch.device("cpu"))
    return run


def _draw(model: object, processor: object, events: EventWriter, step: int) -> None:
    events.image("probe", np.zeros((2, 2, 3), np.uint8), step)


@pytest.mark.parametrize(("strategy", "drawn"), [("ddp", 2), ("fsdp2", 0)])
def test_two_workers_take_the_steps_of_one(alone: SupervisedRun, tmp_path: Path, strategy: str, drawn: int) -> None:
    settings = alone.train.model_copy(update={"strategy": strategy, "workers": 2, "probe_every": 2})
    run = replace(alone, train=settings, output=tmp_path / "model", work=tmp_path / "work", probe=_draw)
    mp.spawn(_worker, args=(run, str(tmp_path / "store")), nprocs=2)
    assert len(list(run.work.rglob("*.png"))) == drawn, "a sharded model cannot generate on one worker"
    assert losses(run) == pytest.approx(losses(alone), rel=1e-3)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (alone.output, run.output)]
    assert configs[0] == configs[1]
    one, two = (load_file(folder / "model.safetensors") for folder in (alone.output, run.output))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=2e-4, rtol=1e-3)
