"""The dataset stage: tables of every kind, repeatable, without leakage, from shapes and from photographs."""

import json
from pathlib import Path
from typing import Any

import pytest

from simpleseg_core.config import Config
from simpleseg_core.contract import StageResult
from simpleseg_core.data.records import CONVERSATIONS, DESCRIPTIONS, INGEST, PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore, write_shard
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.sources.coco import coco_rows, is_held_out
from tests.tasks.annotation_inputs import CHAIN, run_stage, write_refshapes

SMALL = {
    "data": {"train_images": 12, "rl_images": 6, "benchmark_queries": {"val": 8, "testA": 4, "testB": 4}},
    "dataset": {"template_variety": 1, "max_turns": 3},
    "contour": {"tolerance": 0.02, "max_points": 16},
}
CONFIG = Config.model_validate(SMALL)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    write_refshapes(folder / "data" / "images", shards=1, per_shard=6)
    for name in CHAIN:
        run_stage(name, folder, CONFIG)
    return folder


@pytest.fixture(scope="module")
def result(root: Path) -> StageResult:
    return run_stage("dataset", root, CONFIG)


def _prompts(root: Path, name: str) -> list[dict[str, Any]]:
    return read_rows(root / "data" / "dataset" / f"{name}.parquet", PROMPTS)


def _conversations(root: Path, name: str) -> list[dict[str, Any]]:
    return read_rows(root / "data" / "dataset" / f"{name}.parquet", CONVERSATIONS)


def test_tables_have_the_sizes_asked_for(root: Path, result: StageResult) -> None:
    for split, count in CONFIG.data.benchmark_queries.items():
        rows = _prompts(root, f"benchmarks/refshapes-{split}")
        assert len(rows) == count == result.metrics[f"refshapes_{split}_rows"]
        assert {row["benchmark"] for row in rows} == {f"refshapes/{split}"}
    assert len({row["image"] for row in _prompts(root, "rl")}) == 6
    assert len({row["image"] for row in _conversations(root, "sft")}) == 12
    assert len({row["image"] for row in _conversations(root, "pretrain")}) == 6


def test_every_image_can_be_read_and_every_answer_parses(root: Path, result: StageResult) -> None:
    store = ImageStore(root / "data")
    for name in ("pretrain", "sft"):
        for row in _conversations(root, name):
            assert store.read(row["shard"], row["image"]).size == (row["width"], row["height"])
            assert 1 <= len(row["turns"]) <= 3
    for row in _conversations(root, "sft"):
        assert all(parse_polygons(turn["answer"], strict=True).error is None for turn in row["turns"])
    for row in _prompts(root, "rl") + _prompts(root, "benchmarks/refshapes-val"):
        assert store.read(row["shard"], row["image"]).size == (96, 96)


def test_pretraining_mixes_tasks_and_sft_asks_for_outlines(root: Path, result: StageResult) -> None:
    tasks = {turn["task"] for row in _conversations(root, "pretrain") for turn in row["turns"]}
    assert len(tasks) >= 4
    assert tasks <= set(CONFIG.dataset.pretrain_weights)
    assert {turn["task"] for row in _conversations(root, "sft") for turn in row["turns"]} == {"text->mask"}


def test_no_image_serves_two_uses(root: Path, result: StageResult) -> None:
    uses = [_prompts(root, "rl"), _conversations(root, "sft"), _conversations(root, "pretrain")]
    uses += [_prompts(root, f"benchmarks/refshapes-{split}") for split in ("val", "testA", "testB")]
    keys = [{row["image"] for row in rows} for rows in uses]
    assert len(set.union(*keys)) == sum(map(len, keys))


def test_the_composition_is_stored_and_reported(root: Path, result: StageResult) -> None:
    stored = json.loads((root / "data" / "dataset" / "composition.json").read_text())
    assert stored["composition"] == list(result.tables["composition"])
    turns = sum(len(row["turns"]) for row in _conversations(root, "sft"))
    row = {"table": "sft", "source": "refshapes", "task": "text->mask", "images": 12, "turns": turns, "share": 1.0}
    assert row in stored["composition"]
    assert stored["settings"]["sft_weights"] == {"text->mask": 1.0} and stored["settings"]["seed"] == 0
    assert sum(row["sft"] for row in stored["answer_lengths"]) == turns


def test_one_seed_gives_the_same_files_and_another_gives_others(root: Path, result: StageResult) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((root / "data" / "dataset").rglob("*.*"))}

    before = contents()
    assert run_stage("dataset", root, CONFIG) == result
    assert contents() == before
    run_stage("dataset", root, Config.model_validate(SMALL | {"seed": 1}))
    changed = contents()
    run_stage("dataset", root, CONFIG)
    assert changed["sft.parquet"] != before["sft.parquet"]
    assert changed["refshapes-val.parquet"] != before["refshapes-val.parquet"]


@pytest.mark.parametrize(("mixture", "table"), [("rl_expressions", "rl"), ("sft_expressions", "sft")])
def test_a_stage_can_have_a_mixture_of_its_own(root: Path, result: StageResult, mixture: str, table: str) -> None:
    before = {name: _rows_of(root, name) for name in ("rl", "sft", "benchmarks/refshapes-val")}
    asked = SMALL["data"] | {"refshapes": {mixture: {"none": 10}}}
    run_stage("dataset", root, Config.model_validate(SMALL | {"data": asked}))
    after = {name: _rows_of(root, name) for name in before}
    run_stage("dataset", root, CONFIG)
    assert {name for name in before if after[name] != before[name]} == {table}
    assert _absent(before[table]) < 0.5 < _absent(after[table])


def _absent(rows: list[dict[str, Any]]) -> float:
    """Share of prompts about nothing, or of turns whose answer is empty."""
    found = [turn["answer"] == "[]" for row in rows for turn in row.get("turns", ())]
    found = found or [row["kind"] == "none" for row in rows]
    return sum(found) / len(found)


def _rows_of(root: Path, name: str) -> list[dict[str, Any]]:
    return read_rows(root / "data" / "dataset" / f"{name}.parquet", CONVERSATIONS if name == "sft" else PROMPTS)


def test_photographs_go_the_whole_way(coco_tiny: Path, tmp_path: Path) -> None:
    config = Config.model_validate(
        SMALL
        | {
            "data": {
                "source": "coco",
                "coco": {"root": str(coco_tiny), "max_images": 5, "holdout": 0.4},
                "rl_images": 2,
            },
            "segment": {"grabcut_iterations": 1},
        }
    )
    files, rows = [], []
    for key, body, caption, annotations in coco_rows(config.data.coco):
        width, height = (int(side) for side in _size(body))
        files.append((f"{key}.jpg", body))
        row = {"row_id": key, "url": f"coco:{key}", "text": caption, "status": "ok", "image": key}
        rows.append(row | {"shard": "images/00000.tar", "width": width, "height": height, "annotations": annotations})
    write_shard(files, tmp_path / "data" / "images" / "00000.tar")
    write_table(rows, INGEST, tmp_path / "data" / "images" / "00000.parquet")
    results = {name: run_stage(name, tmp_path, config) for name in (*CHAIN, "dataset")}
    assert results["segment"].metrics["mask_iou"] > 0.4
    assert results["segment"].metrics["matched_share"] > 0.9
    held_out = {row["image"] for row in rows if is_held_out(str(row["image"]), 0, 0.4)}
    assert {row["image"] for row in _prompts(tmp_path, "benchmarks/coco-val")} <= held_out
    for name in ("sft", "pretrain"):
        table = _conversations(tmp_path, name)
        assert table
        assert not held_out & {row["image"] for row in table}
    assert len({row["image"] for row in _prompts(tmp_path, "rl")}) <= 2
    assert results["dataset"].metrics["leaked_images"] > 0  # held-out images that the annotation pipeline saw too


def _size(body: bytes) -> tuple[int, int]:
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(body)).size


def test_without_images_on_both_sides_of_the_split_the_cure_is_named(tmp_path: Path) -> None:
    write_refshapes(tmp_path / "data" / "images", shards=1, per_shard=1)
    write_table([], DESCRIPTIONS, tmp_path / "data" / "descriptions" / "00000.parquet")
    config = Config.model_validate(SMALL | {"data": {"source": "coco", "coco": {"root": "."}}})
    with pytest.raises(ValueError, match=r"data\.coco: .* raise data\.coco\.max_images"):
        run_stage("dataset", tmp_path, config)
