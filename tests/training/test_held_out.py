"""What is held out is measured at any strategy and never learned; the best state is kept, and waiting ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from simpleseg_core.config import HeldOutConfig, OptimizerConfig, TrainConfig
from simpleseg_core.data.records import CONVERSATIONS, write_table
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.geometry import encode_rle
from simpleseg_core.journal import Journal
from simpleseg_core.training.held_out import Share
from simpleseg_core.training.run import HeldOut, SupervisedRun
from simpleseg_core.training.samples import Conversation, ConversationTable
from simpleseg_core.training.supervised import train
from tests.tiny import TINY, FourColours, curve

CPU = torch.device("cpu")


@dataclass(frozen=True)
class LeftHalf:
    """One image, always with the same answer: its left half."""

    def __getitem__(self, index: int) -> Conversation:
        return Conversation(Image.new("RGB", (64, 64), "red"), ("outline",), ("[[[0,0],[500,0],[500,1000],[0,1000]]]",))

    held = __getitem__


def left_halves(folder: Path) -> HeldOut:
    """Two queries for it, and one for the whole image."""
    write_shard([("a.jpg", encode_jpeg(np.full((64, 64, 3), (255, 0, 0), np.uint8)))], folder / "shard.tar")
    half = np.zeros((64, 64), bool)
    half[:, :32] = True
    masks = [half, half, np.ones((64, 64), bool)]
    image = {"shard": "shard.tar", "image": "a", "width": 64, "height": 64, "question": "outline"}
    queries = [{**image, "rle_counts": encode_rle(mask)["counts"]} for mask in masks]
    return HeldOut(3, queries, folder, max_tokens=64, style="permille")


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path) -> SupervisedRun:
    settings = TrainConfig(
        batch_size=8,
        micro_batch_size=8,
        threads=1,
        log_every=1,
        checkpoint_every=3,
        probe_every=1,
        optimizer=OptimizerConfig(name="muon", lr=1e-2, min_lr=1e-2, warmup_ratio=0),
        held_out=HeldOutConfig(every=2, choose="loss", patience=2),
    )
    return SupervisedRun(
        "sft", 0, 20, settings, TINY, str(tiny_checkpoint), FourColours(), tmp_path / "model", tmp_path / "work",
        "same", held_out=HeldOut(3, [], tmp_path),
    )  # fmt: skip


def test_loss_and_giou_are_those_of_what_is_held_out(run: SupervisedRun, tmp_path: Path) -> None:
    held_out = HeldOutConfig(every=25, choose="giou")
    settings = run.train.model_copy(update={"held_out": held_out, "batch_size": 4, "micro_batch_size": 4})
    run = replace(run, steps=60, samples=LeftHalf(), held_out=left_halves(tmp_path), train=settings)
    train(run, CPU)
    losses, overlaps = curve(run, "held_out_loss"), curve(run, "held_out_giou")
    assert list(losses) == list(overlaps) == [25, 50, 60], "and at the last step"
    assert losses[60] < 0.01 < losses[25]
    assert overlaps[60] == pytest.approx((1 + 1 + 0.5) / 3, abs=0.02)


class Killed(Exception):
    pass


def test_the_best_state_is_written_and_waiting_ends(run: SupervisedRun) -> None:
    """Weights are shaken behind step 5, and the worker dies behind step 7: step 4 stays the best, 8 is the last."""
    best = dict[str, torch.Tensor]()

    def shake(kill: bool) -> Callable[[Any, object, Journal, int], None]:
        def probe(model: Any, processor: object, events: Journal, step: int) -> None:
            if step == 4:
                best.update({name: value.clone() for name, value in model.state_dict().items()})
            if step == 5:
                with torch.no_grad():
                    for weight in model.parameters():
                        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
            if step == 7 and kill:
                raise Killed

        return probe

    with pytest.raises(Killed):
        train(replace(run, probe=shake(kill=True)), CPU)
    train(replace(run, probe=shake(kill=False)), CPU)
    assert max(curve(run, "held_out_loss")) == 8
    written = load_file(run.output / "model.safetensors")
    weight = "model.layers.0.mlp.down_proj.weight"
    assert torch.equal(written[weight], best["model.language_model.layers.0.mlp.down_proj.weight"])
    assert not list(run.work.rglob("step-*")), "nothing is left of a run that is done"


def test_the_last_rows_of_a_table_are_never_learned(tmp_path: Path) -> None:
    write_shard([("a.jpg", encode_jpeg(np.zeros((8, 8, 3), np.uint8)))], tmp_path / "shard.tar")
    row = {"shard": "shard.tar", "image": "a", "width": 8, "height": 8, "source": "s"}
    turns = [{"task": "text->mask", "question": str(number), "answer": "[]"} for number in range(6)]
    rows = [{**row, "sample": str(number), "turns": [turn]} for number, turn in enumerate(turns)]
    write_table(rows, CONVERSATIONS, tmp_path / "sft.parquet")
    table = ConversationTable(tmp_path / "sft.parquet", tmp_path, 0, tmp_path, held_out=2)
    assert len(table) == 4
    assert {table[index].questions[0] for index in range(40)} == {"0", "1", "2", "3"}
    assert [table.held(index).questions[0] for index in range(2)] == ["4", "5"]
    with pytest.raises(ValueError, match="of 6 conversations 6 are held out: lower"):
        ConversationTable(tmp_path / "sft.parquet", tmp_path, 0, tmp_path, held_out=6)


@pytest.mark.parametrize(("count", "workers"), [(0, 2), (1, 3), (5, 2), (4, 4)])
def test_workers_share_what_is_measured(count: int, workers: int) -> None:
    shares = [Share(rank, workers, True).indices(count) for rank in range(workers)]
    assert len({len(share) for share in shares}) == 1, "all take as many steps"
    assert sorted(index for share in shares for index, counts in share if counts) == list(range(count))


def test_a_choice_that_nothing_measures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"choose giou: nothing measures it"):
        HeldOutConfig(choose="giou", queries=0)
    with pytest.raises(ValueError, match=r"patience: better by what"):
        HeldOutConfig(patience=3)
