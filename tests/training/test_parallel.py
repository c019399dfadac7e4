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
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.optim import Muon

from simpleseg_core.config import HeldOutConfig, OptimizerConfig, RatesConfig, TrainConfig
from simpleseg_core.journal import Journal
from simpleseg_core.models.loading import load_model
from simpleseg_core.models.nano import build_nano
from simpleseg_core.training import parallel
from simpleseg_core.training.parallel import Sharding, blocks, load_sharded
from simpleseg_core.training.run import SupervisedRun
from simpleseg_core.training.sharded_muon import ShardedMuon
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, curve, losses
from tests.training.test_held_out import left_halves

CASES: dict[str, tuple[str, dict[str, object]]] = {
    "ddp": ("adamw", {}),
    "ddp, gradients summed up in every micro-batch": ("adamw", {"gradient_sync": "micro_batch"}),
    "ddp with muon, packed": ("muon", {"packing": 100}),
    "fsdp2, saving memory": ("adamw", {"strategy": "fsdp2", "gradient_checkpointing": True, "loss_chunk": 7}),
    "fsdp2 with muon, gradients summed up once": (
        "muon",
        {"strategy": "fsdp2", "gradient_sync": "step", "reshard": False},
    ),
    "fsdp2 in bfloat16 with a frozen tower": ("bfloat16", {"strategy": "fsdp2", "reduce_dtype": "bfloat16"}),
}
"""Name -> the run in one process that two workers must equal, and their settings."""


def _worker(rank: int, runs: list[SupervisedRun], store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        _holds_its_slices(runs[0].start)
        _orthogonalises_whole_matrices(rank)
        for run in runs:
            train(run, torch.device("cpu"), rank, 2)
    finally:
        dist.destroy_process_group()


def _holds_its_slices(folder: str) -> None:
    """A worker has half of each weight, and together they are those of the files; tied ones stay one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "load_model", None)  # whoever reads the whole model fails
        model = load_sharded(folder, TINY, torch.device("cpu"), Sharding())
    whole = load_model(folder, TINY)
    assert model.generation_config.to_dict() == whole.generation_config.to_dict()
    for mine, theirs in zip(model.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    theirs = dict(whole.named_parameters())
    for name, weight in model.named_parameters():
        assert isinstance(weight, DTensor) and weight.to_local().numel() <= -(-theirs[name].numel() // 2) + 64
        torch.testing.assert_close(weight.full_tensor(), theirs.pop(name), rtol=0, atol=0)
    assert not theirs
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


def _orthogonalises_whole_matrices(rank: int) -> None:
    """Sharded over two workers, Muon takes to the bit the steps that it takes in one, with few exchanges."""
    random = torch.Generator().manual_seed(0)
    shapes = [(64, 96), (64, 96), (96, 64), (5, 7), (64, 96), (1, 4)]  # the last leaves nothing for the second worker
    whole = [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]
    mesh = init_device_mesh("cpu", (2,))
    parts = [torch.nn.Parameter(distribute_tensor(value.detach().clone(), mesh, [Shard(0)])) for value in whole]
    settings = {"lr": 0.1, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    theirs, ours = Muon(whole, **settings), ShardedMuon(parts, **settings)
    for _ in range(3):
        for value, part in zip(whole, parts, strict=True):
            value.grad = torch.randn(value.shape, generator=random)
            part.grad = distribute_tensor(value.grad, mesh, [Shard(0)])
        theirs.step()
        with CommDebugMode() as traffic:
            ours.step()
        assert traffic.get_total_counts() == 2 * 5, "one exchange there and one back: two batches of the first shape"
    for value, part in zip(whole, parts, strict=True):
        assert torch.equal(part.full_tensor(), value)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> dict[str, SupervisedRun]:
    folder = tmp_path_factory.mktemp("alone")
    settings = TrainConfig(
        batch_size=8,
        log_every=1,
        micro_batch_size=2,
        threads=1,
        checkpoint_every=3,
        probe_every=2,
        noise_every=3,
        held_out=HeldOutConfig(every=2, choose="loss"),
        optimizer=OptimizerConfig(lr=1e-3, warmup_ratio=0),
    )
    adamw = SupervisedRun(
        "sft",
        0,
        4,
        settings,
        TINY,
        str(tiny_checkpoint),
        FourColours(),
        folder / "1",
        folder / "work",
        "same",
        _draw,
        left_halves(folder),
    )
    optimizer = settings.optimizer.model_copy(update={"name": "muon"})
    muon = replace(
        adamw,
        train=settings.model_copy(update={"optimizer": optimizer}),
        output=folder / "muon",
        work=folder / "muon-work",
    )
    bfloat16 = replace(
        adamw,
        train=settings.model_copy(update={"rates": RatesConfig(vision=0)}),
        model=TINY.model_copy(update={"dtype": "bfloat16"}),
        output=folder / "bf",
        work=folder / "bf-work",
    )
    for run in (adamw, muon, bfloat16):
        train(run, torch.device("cpu"))
    return {"adamw": adamw, "muon": muon, "bfloat16": bfloat16}


@pytest.fixture(scope="module")
def together(alone: dict[str, SupervisedRun], tmp_path_factory: pytest.TempPathFactory) -> dict[str, SupervisedRun]:
    """The runs of two workers, in one pair of processes."""
    runs = {}
    for number, (name, (base, settings)) in enumerate(CASES.items()):
        folder = tmp_path_factory.mktemp(f"together-{number}")
        changed = alone[base].train.model_copy(update={"workers": 2, **settings})
        runs[name] = replace(alone[base], train=changed, output=folder / "model", work=folder / "work")
    store = tmp_path_factory.mktemp("store") / "store"
    mp.spawn(_worker, args=(list(runs.values()), str(store)), nprocs=2)
    return runs


def held_out_losses(run: SupervisedRun) -> list[float]:
    """Of three conversations, which two workers cannot share evenly; with gIoU, for which sharded models generate."""
    events = [event["metrics"] for _, event in Journal(run.work).read(limit=None) if event.get("metrics")]
    assert sum("held_out_giou" in event for event in events) == 2
    return [event["held_out_loss"] for event in events if "held_out_loss" in event]


def _draw(model: object, processor: object, events: Journal, step: int) -> None:
    events.image("probe", np.zeros((2, 2, 3), np.uint8), step)


@pytest.mark.parametrize("case", CASES)
def test_two_workers_take_the_steps_of_one(
    alone: dict[str, SupervisedRun], together: dict[str, SupervisedRun], case: str
) -> None:
    one, two = alone[CASES[case][0]], together[case]
    exact = one.model.dtype == "float32"
    drawn = 0 if two.train.strategy == "fsdp2" else 2
    assert len(list(two.work.rglob("*.png"))) == drawn, "a sharded model cannot generate on one worker"
    assert losses(two) == pytest.approx(losses(one), rel=1e-3 if exact else 1e-2)
    # AdamW forgives a wrong scale of the gradient; clipping and other optimizers do not.
    assert curve(two, "grad_norm") == pytest.approx(curve(one, "grad_norm"), rel=1e-2 if exact else 0.1)
    assert held_out_losses(two) == pytest.approx(held_out_losses(one), rel=1e-3 if exact else 1e-2)
    for file in ("config.json", "generation_config.json"):
        assert json.loads((one.output / file).read_text()) == json.loads((two.output / file).read_text())
    weights, others = (load_file(run.output / "model.safetensors") for run in (one, two))
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        if exact:
            # Muon's iteration rounds to bfloat16, otherwise for otherwise summed gradients.
            torch.testing.assert_close(value, others[name], atol=5e-4 if "muon" in case else 2e-4, rtol=1e-3)


def test_every_layer_of_both_towers_is_sharded_by_itself() -> None:
    model, _ = build_nano(TINY, seed=0)
    found = blocks(model)
    assert [type(block).__name__ for block in found] == ["Qwen2_5_VLVisionBlock"] + ["Qwen2_5_VLDecoderLayer"] * 2
