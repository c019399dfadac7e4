"""The loop of reinforcement learning, whole: Ray, an engine, a trainer, and what happens when it is killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.config import Config
from simpleseg_core.data.records import PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore, encode_jpeg, write_shard
from simpleseg_core.geometry import decode_rle, encode_rle, mask_to_polygons
from simpleseg_core.grammar import format_polygons, question
from simpleseg_core.models import load_model, load_processor, save_checkpoint
from simpleseg_core.rollout import Request, open_engine, read_weights
from simpleseg_core.stages import Context
from simpleseg_core.stages.rl import run as run_stage
from simpleseg_core.training.policy import Answer, Policy
from simpleseg_core.training.rl import PromptOrder, RLRun, _engine_settings, _Loop
from tests.tiny import TINY

PROMPT_COUNT = 6


def prompt_row(index: int) -> tuple[dict[str, Any], bytes]:
    """A query with a rectangle as its answer, and its picture."""
    left, top = 8 + 4 * index, 6 + 3 * index
    mask = np.zeros((64, 64), dtype=bool)
    mask[top : top + 24, left : left + 28] = True
    image = np.where(mask[..., None], [200, 30 * index, 40], [20, 20, 90]).astype(np.uint8)
    row = {
        "sample": f"p{index}", "image": f"p{index}", "shard": "images/rl.tar", "width": 64, "height": 64,
        "benchmark": "", "expression": "red box", "kind": "attribute",
        "question": question("text->mask", expression="red box"),
        "task": "text->mask", "targets": 1, "rle_counts": encode_rle(mask)["counts"],
        "box": [left / 64, top / 64, (left + 28) / 64, (top + 24) / 64],
    }  # fmt: skip
    return row, encode_jpeg(image)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with RL prompts and one benchmark."""
    root = tmp_path_factory.mktemp("data")
    rows, pictures = zip(*(prompt_row(index) for index in range(PROMPT_COUNT)), strict=True)
    write_shard([(f"p{index}.jpg", picture) for index, picture in enumerate(pictures)], root / "images" / "rl.tar")
    write_table(rows, PROMPTS, root / "dataset" / "rl.parquet")
    write_table(rows[:2], PROMPTS, root / "dataset" / "benchmarks" / "refshapes-val.parquet")
    return root


@pytest.fixture(scope="module")
def taught(tiny_checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that half knows the answers, so that its samples differ in reward."""
    model, processor = load_model(tiny_checkpoint, TINY), load_processor(tiny_checkpoint, TINY)
    policy = Policy(model, processor, (), 1.0)
    store, rows = ImageStore(data), read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    prompts = policy.encode([Request(store.read(row["shard"], row["image"]), row["question"]) for row in rows])
    answers = [Answer(i, answer_tokens(row, processor)) for i, row in enumerate(rows)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        logps, mask = policy.logps(prompts, policy.image_features(prompts), answers)
        (-logps.sum() / mask.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("models") / "taught"
    save_checkpoint(model, processor, folder)
    return folder


def answer_tokens(row: dict[str, Any], processor: Any) -> tuple[int, ...]:
    mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
    text = format_polygons(mask_to_polygons(mask, tolerance=0.02), style="permille")
    return (*processor.tokenizer.encode(text), processor.tokenizer.eos_token_id)


def configuration(**changes: Any) -> Config:
    rl = {
        "steps": 4, "prompts": 3, "group_size": 4, "minibatches": 1, "max_resample": 1,
        "checkpoint_every": 1, "probe_every": 2,
        "optimizer": {"lr": 1e-3, "min_lr": 1e-3, "weight_decay": 0.0},
        "rollout": {"engine": "transformers", "max_tokens": 40, "max_length": 128, "max_num_seqs": 16},
    }  # fmt: skip
    return Config.model_validate({"model": TINY.model_dump(), "rl": rl | changes})


class Recorder:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}
        self.images: list[tuple[str, int]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.steps[step] = dict(values)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self.images.append((name, step))


def run(config: Config, data: Path, model: Path, folder: Path) -> Recorder:
    recorder = Recorder()
    inputs = {"images": data / "images", "dataset": data / "dataset", "model": model}
    run_stage(config, inputs, {"model": folder / "model"}, Context(folder / "work", recorder))
    return recorder


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(0, 50), st.integers(0, 60), st.integers(0, 30))
def test_every_epoch_shows_every_prompt_once_wherever_the_run_goes_on(
    count: int, seed: int, cursor: int, size: int
) -> None:
    order = PromptOrder(count, seed)
    assert order.take(0, cursor) + order.take(cursor, size) == order.take(0, cursor + size)
    assert sorted(order.take(count, count)) == list(range(count))


def test_a_disabled_stage_passes_its_model_on(tiny_checkpoint: Path, data: Path, tmp_path: Path) -> None:
    run(configuration(enabled=False), data, tiny_checkpoint, tmp_path)
    given_files = {file.name: file.read_bytes() for file in tiny_checkpoint.iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == given_files


def test_an_empty_table_of_prompts_is_an_error(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_table([], PROMPTS, tmp_path / "dataset" / "rl.parquet")
    with pytest.raises(ValueError, match=r"rl\.parquet: no prompts to learn from"):
        run(configuration(), tmp_path, tiny_checkpoint, tmp_path)


def _loop(data: Path, model: Path, work: Path, **settings: Any) -> _Loop:
    """The loop of a run, with its engine in this process; choosing prompts needs no trainer."""
    config = configuration(prompt_filter={"enabled": True, "samples": 8, **settings})
    prompts = read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    job = RLRun(config, model, prompts, data, (), work / "model", "mark")
    engine = open_engine("transformers", str(model), _engine_settings(config))
    return _Loop(job, Context(work), engine, None)  # type: ignore[arg-type]


def test_the_loop_draws_only_from_reachable_prompts(data: Path, taught: Path, tmp_path: Path) -> None:
    rows = read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    loop = _loop(data, taught, tmp_path, iou=0.3, min_pass=0.1, max_pass=1.0)
    loop._choose_prompts()
    rates = json.loads((tmp_path / "pass_rates.json").read_text())["rates"]
    assert len(rates) == PROMPT_COUNT
    assert [row["sample"] for row in loop._prompts] == [
        row["sample"] for row, rate in zip(rows, rates, strict=True) if rate >= 0.1
    ]
    assert loop._chosen["prompts_kept"] + loop._chosen["prompts_hopeless"] == PROMPT_COUNT
    assert max(loop._order.take(0, 20)) < len(loop._prompts)
    with pytest.raises(ValueError, match="leaves none of 6 prompts"):
        _loop(data, taught, tmp_path / "strict", iou=1.0, min_pass=1.0, max_pass=1.0)._choose_prompts()


@pytest.mark.slow
def test_a_run_on_vllm_learns_from_its_answers(data: Path, taught: Path, tmp_path: Path) -> None:
    config = configuration(steps=2, rollout=configuration().rl.rollout.model_dump() | {"engine": "vllm"})
    recorder = run(config, data, taught, tmp_path)
    assert list(recorder.steps) == [1, 2]
    assert recorder.images == [("probe", 2)]
    for metrics in recorder.steps.values():
        assert metrics["engine_gap_max"] < 1e-4  # fresh weights, same policy
        assert metrics["grad_norm"] > 0
        assert 0 < metrics["reward"] < 1
    changed = dict(read_weights(tmp_path / "model"))
    assert any(not torch.equal(value, changed[name]) for name, value in read_weights(taught))


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(data: Path, taught: Path, tmp_path: Path) -> None:
    """Kill -9 after the first checkpoint: the same weights come out as without."""
    whole = run(configuration(), data, taught, tmp_path / "whole")
    with stage_process(data, taught, tmp_path / "killed") as process:
        wait_for_checkpoint(tmp_path / "killed" / "work" / "checkpoints", process)
        process.send_signal(signal.SIGKILL)
    resumed = run(configuration(), data, taught, tmp_path / "killed")
    assert list(whole.steps) == [1, 2, 3, 4]
    assert list(resumed.steps) == list(range(5 - len(resumed.steps), 5)) != [1, 2, 3, 4]
    expected = dict(read_weights(tmp_path / "whole" / "model"))
    for name, value in read_weights(tmp_path / "killed" / "model"):
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@contextmanager
def stage_process(data: Path, model: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The stage in a process of its own, which takes its Ray with it when it dies."""
    paths = ", ".join(f"Path({str(path)!r})" for path in (data, model, folder))
    code = f"from pathlib import Path; from tests.training import test_rl as t; t.run(t.configuration(), {paths})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_checkpoint(folder: Path, process: "subprocess.Popen[bytes]", seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not list(folder.glob("step-*.pt")):
        assert process.poll() is None, "the stage ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.05)
