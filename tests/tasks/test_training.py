"""Pre-training and SFT as stages, on Ray Train: a table in, a checkpoint out, curves and pictures on the way."""

from pathlib import Path
from typing import Any

import pytest

from simpleseg_core.config import Config, OptimizerConfig, RayConfig, TrainConfig
from simpleseg_core.contract import Context
from simpleseg_core.data.records import CONVERSATIONS, PROMPTS, write_table
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.geometry import encode_rle
from simpleseg_core.journal import Journal
from simpleseg_core.models.loading import load_model
from simpleseg_core.refshapes import scene
from tasks.graph import load_stage
from tests.tiny import TINY


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
    journal = Journal(tmp_path / "tracking")
    inputs = {"images": tmp_path / "images", "dataset": tmp_path / "dataset", "model": tiny_checkpoint}
    result = load_stage("sft")(config, inputs, {"model": tmp_path / "model"}, Context(tmp_path / "work", journal))
    events = [event for _, event in journal.read()]
    points = {event["step"]: event["metrics"] for event in events if "metrics" in event}
    assert list(points) == [1, 2, 3, 4, 5, 6]
    assert points[6]["loss"] < points[1]["loss"]
    assert {"loss_first_coordinate", "lr", "grad_norm", "samples_per_s", "data_wait"} <= points[6].keys()
    (picture,) = [event for event in events if "image" in event]
    assert (picture["image"], picture["step"]) == ("sft answers", 6)
    assert [file.name for file in tmp_path.rglob("*.png")] == [picture["file"]], "a picture is encoded once"
    written = [file for file in tmp_path.rglob("*") if file.is_file() and b'"loss": ' in file.read_bytes()]
    assert written == [journal.events], "a point is written once"
    assert result.metrics["steps"] == 6 and result.metrics["loss"] == points[6]["loss"]
    assert load_model(tmp_path / "model", TINY).num_parameters() > 0


def test_more_workers_than_ray_has_room_for_are_refused(tmp_path: Path, config: Config, tiny_checkpoint: Path) -> None:
    """Ray itself would wait for them for ever."""
    write_dataset(tmp_path, config)
    crowd = config.model_copy(update={"sft": config.sft.model_copy(update={"workers": 4, "micro_batch_size": 2})})
    inputs = {"images": tmp_path / "images", "dataset": tmp_path / "dataset", "model": tiny_checkpoint}
    with pytest.raises(ValueError, match=r"sft\.workers is 4, each takes one of the 2 CPUs of this Ray: lower it"):
        load_stage("sft")(crowd, inputs, {"model": tmp_path / "model"}, Context(tmp_path / "work"))


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


def test_a_conversation_that_does_not_fit_is_told_before_anything_starts(
    tmp_path: Path, config: Config, tiny_checkpoint: Path
) -> None:
    write_dataset(tmp_path, config)
    short = config.model_copy(update={"sft": config.sft.model_copy(update={"max_length": 20})})
    inputs = {"images": tmp_path / "images", "dataset": tmp_path / "dataset", "model": tiny_checkpoint}
    with pytest.raises(ValueError, match=r"sft\.max_length 20: the longest conversation has \d\d tokens: raise it to"):
        load_stage("sft")(short, inputs, {"model": tmp_path / "model"}, Context(tmp_path / "work"))


def test_a_base_model_that_is_not_there_is_an_error_before_anything_starts(tmp_path: Path, config: Config) -> None:
    missing = config.model_copy(update={"model": TINY.model_copy(update={"base": str(tmp_path / "nothing")})})
    with pytest.raises(FileNotFoundError, match=r"model\.base"):
        load_stage("pretrain")(
            missing, {"dataset": tmp_path}, {"model": tmp_path / "model"}, Context(tmp_path / "work")
        )
