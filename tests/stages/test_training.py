"""Pre-training and SFT as stages, on Ray Train: a table in, a checkpoint out, curves and pictures on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simpleseg_core.config import Config, OptimizerConfig, RayConfig, TrainConfig
from simpleseg_core.data.records import CONVERSATIONS, PROMPTS, write_table
from simpleseg_core.data.refshapes import scene
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.geometry import encode_rle
from simpleseg_core.models import load_model
from simpleseg_core.stages import Context, load_stage
from tests.tiny import TINY


@dataclass
class Recorder:
    """A tracker that remembers."""

    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    pictures: list[tuple[str, tuple[int, ...], int]] = field(default_factory=list)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.curves.setdefault(name, {})[step] = value

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self.pictures.append((name, image.shape, step))


def write_dataset(root: Path, config: Config) -> None:
    """Eight scenes, each with one question, as the dataset stage would leave them."""
    scenes = [scene(config.data.refshapes, 0, "train", index) for index in range(8)]
    write_shard(
        ((f"{index:05d}.jpg", encode_jpeg(each.image)) for index, each in enumerate(scenes)),
        root / "dataset/images/sft.tar",
    )
    rows, prompts = [], []
    for index, each in enumerate(scenes):
        height, width = each.image.shape[:2]
        query = each.queries[0]
        image = {
            "sample": str(index),
            "image": f"{index:05d}",
            "shard": "dataset/images/sft.tar",
            "width": width,
            "height": height,
        }
        turn = {
            "task": "text->mask",
            "question": f"outline of {query.expression}",
            "answer": "[[[100,200],[300,200],[200,400]]]",
        }
        rows.append({**image, "source": "refshapes", "turns": [turn]})
        target: dict[str, Any] = {
            "rle_counts": encode_rle(query.mask)["counts"],
            "targets": len(query.targets),
            "box": None,
        }
        query_of = {
            "expression": query.expression,
            "kind": query.kind,
            "question": turn["question"],
            "task": "text->mask",
        }
        prompts.append({**image, **target, **query_of, "benchmark": "refshapes/val"})
    write_table(rows, CONVERSATIONS, root / "dataset/sft.parquet")
    write_table(prompts, PROMPTS, root / "dataset/benchmarks/refshapes-val.parquet")


@pytest.fixture
def config() -> Config:
    optimizer = OptimizerConfig(name="muon", lr=1e-2, warmup_ratio=0.1)
    train = TrainConfig(
        steps=6,
        batch_size=8,
        micro_batch_size=8,
        optimizer=optimizer,
        log_every=1,
        checkpoint_every=4,
        probe_every=6,
        threads=1,
    )
    return Config(model=TINY, sft=train, pretrain=TrainConfig(enabled=False), ray=RayConfig(num_cpus=2))


def test_sft_trains_on_ray_and_reports(tmp_path: Path, config: Config, tiny_checkpoint: Path) -> None:
    write_dataset(tmp_path, config)
    tracker = Recorder()
    inputs = {"images": tmp_path / "images", "dataset": tmp_path / "dataset", "model": tiny_checkpoint}
    result = load_stage("sft")(config, inputs, {"model": tmp_path / "model"}, Context(tmp_path / "work", tracker))
    assert list(tracker.curves["loss"]) == [1, 2, 3, 4, 5, 6]
    assert tracker.curves["loss"][6] < tracker.curves["loss"][1]
    assert {"loss_first_coordinate", "lr", "grad_norm"} <= tracker.curves.keys()
    assert [(name, step) for name, _, step in tracker.pictures] == [("probe", 6)]
    assert result.metrics["steps"] == 6 and result.metrics["loss"] == tracker.curves["loss"][6]
    assert load_model(tmp_path / "model", TINY).num_parameters() > 0


def test_a_disabled_stage_passes_its_model_on(tmp_path: Path, config: Config, tiny_checkpoint: Path) -> None:
    passing = config.model_copy(update={"model": TINY.model_copy(update={"base": str(tiny_checkpoint)})})
    inputs = {"images": tmp_path / "images", "dataset": tmp_path / "dataset"}
    load_stage("pretrain")(passing, inputs, {"model": tmp_path / "model"}, Context(tmp_path / "work"))
    names = {path.name for path in tiny_checkpoint.iterdir()}
    assert names == {path.name for path in (tmp_path / "model").iterdir()}
    assert (tmp_path / "model/model.safetensors").read_bytes() == (tiny_checkpoint / "model.safetensors").read_bytes()


def test_a_table_without_conversations_is_an_error_with_a_cure(
    tmp_path: Path, config: Config, tiny_checkpoint: Path
) -> None:
    write_table([], CONVERSATIONS, tmp_path / "dataset/sft.parquet")
    inputs = {"images": tmp_path / "images", "dataset": tmp_path / "dataset", "model": tiny_checkpoint}
    with pytest.raises(ValueError, match="no conversations"):
        load_stage("sft")(config, inputs, {"model": tmp_path / "model"}, Context(tmp_path / "work"))


def test_a_base_model_that_is_not_there_is_an_error_before_anything_starts(tmp_path: Path, config: Config) -> None:
    missing = config.model_copy(update={"model": TINY.model_copy(update={"base": str(tmp_path / "nothing")})})
    with pytest.raises(FileNotFoundError, match=r"model\.base"):
        load_stage("pretrain")(
            missing, {"dataset": tmp_path}, {"model": tmp_path / "model"}, Context(tmp_path / "work")
        )
