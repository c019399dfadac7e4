"""The loop of reinforcement learning, whole: Ray, an engine, a trainer, and what happens when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.cluster_utils import Cluster

from simpleseg_core.config import Config
from simpleseg_core.contract import Context
from simpleseg_core.data.records import PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.environment import apply_defaults, worker_env
from simpleseg_core.family import found_family
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.models.loading import load_processor
from simpleseg_core.rollout import read_weights
from simpleseg_core.training.order import EpochOrder
from simpleseg_core.training.rl import RLRun, _Loop
from simpleseg_core.training.rl_rollout import SampledStep, Sampler
from tasks.rl import run as run_stage
from tests.tiny import TINY
from tests.training.reinforcement import PROMPT_COUNT, Here, answer_tokens, configuration


class Recorder:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}
        self.images: list[tuple[str, int]] = []
        self.pages: dict[tuple[str, int], str] = {}

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.steps[step] = dict(values)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self.images.append((name, step))

    def page(self, name: str, html: str, step: int) -> None:
        self.pages[name, step] = html


def run(config: Config, data: Path, model: Path, folder: Path, recorder: Recorder | None = None) -> Recorder:
    recorder = recorder or Recorder()
    inputs = {"images": data / "images", "dataset": data / "dataset", "model": model}
    run_stage(config, inputs, {"model": folder / "model"}, Context(folder / "work", recorder))
    return recorder


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(0, 50), st.integers(0, 60), st.integers(0, 30))
def test_every_epoch_shows_every_prompt_once_wherever_the_run_goes_on(
    count: int, seed: int, cursor: int, size: int
) -> None:
    order = EpochOrder(count, seed)
    assert order.take(0, cursor) + order.take(cursor, size) == order.take(0, cursor + size)
    assert sorted(order.take(count, count)) == list(range(count))


def test_prompts_that_leave_no_room_for_an_answer_are_told_before_anything_starts(
    tiny_checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    rollout = {"engine": "transformers", "max_tokens": 120, "max_length": 128}
    with pytest.raises(
        ValueError, match=r"rl\.rollout\.max_length 128: the longest prompt has \d+ tokens and its answer"
    ):
        run(configuration(rollout=rollout), data, tiny_checkpoint, tmp_path)
    assert not (tmp_path / "model").exists()


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
    job = RLRun(config, model, prompts, data, (), str, work / "model", "mark")
    return _Loop(job, Context(work), Here(config, model), None)  # type: ignore[arg-type]


def test_the_loop_draws_only_from_reachable_prompts(data: Path, taught: Path, tmp_path: Path) -> None:
    rows = read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    loop = _loop(data, taught, tmp_path, iou=0.3, min_pass=0.1, max_pass=1.0)
    chosen = loop._chosen_prompts()
    rates = json.loads((tmp_path / "pass_rates.json").read_text())["rates"]
    assert len(rates) == PROMPT_COUNT
    assert [row["sample"] for row in chosen] == [
        row["sample"] for row, rate in zip(rows, rates, strict=True) if rate >= 0.1
    ]
    assert loop._chosen["prompts_kept"] + loop._chosen["prompts_hopeless"] == PROMPT_COUNT
    with pytest.raises(ValueError, match="leaves none of 6 prompts"):
        _loop(data, taught, tmp_path / "strict", iou=1.0, min_pass=1.0, max_pass=1.0)._chosen_prompts()


def test_answers_that_are_cut_off_earn_nothing(data: Path, taught: Path) -> None:
    """Cut off by its last two tokens, an outline can still be read, and was paid for."""
    rows = read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    processor = load_processor(taught, TINY)
    long = min(len(answer_tokens(row, processor)) for row in rows) - 2
    settings = {"engine": "transformers", "max_tokens": long, "max_length": 128, "max_num_seqs": 16}
    config, rollout = configuration(rollout=settings), SampledStep()
    Sampler(config.rl, 0, rows, ImageStore(data), Here(config, taught)).sample(rows, 0, rollout)
    answers = [pair for each in rollout.scored for pair in zip(each.group.completions, each.group.rewards, strict=True)]
    cut = [reward for completion, reward in answers if not completion.finished]
    assert cut
    assert any(parse_polygons(completion.text).polygons for completion, _ in answers if not completion.finished)
    assert not any(cut)


@pytest.mark.slow
def test_a_run_on_vllm_learns_from_its_answers(data: Path, taught: Path, tmp_path: Path) -> None:
    config = configuration(steps=2, rollout=configuration().rl.rollout.model_dump() | {"engine": "vllm"})
    recorder = run(config, data, taught, tmp_path)
    assert list(recorder.steps) == [1, 2]
    assert recorder.images == [("rl answers", 2)]
    for metrics in recorder.steps.values():
        assert metrics["engine_gap_max"] < 1e-4  # fresh weights, same policy
        assert metrics["grad_norm"] > 0
        assert 0 < metrics["reward"] < 1
    changed = dict(read_weights(tmp_path / "model"))
    assert any(not torch.equal(value, changed[name]) for name, value in read_weights(taught))


@pytest.fixture(scope="module")
def two_nodes(repository: Path) -> Iterator[None]:
    """A cluster of two nodes with a core each: what does not fit on one travels to the other."""
    apply_defaults()
    found_family()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    environment = {"env_vars": worker_env() | {"PYTHONPATH": str(repository)}}
    ray.init(address=cluster.address, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def whole(
    data: Path, taught: Path, tmp_path_factory: pytest.TempPathFactory, two_nodes: None
) -> tuple[Recorder, dict[str, torch.Tensor]]:
    """A run that nothing happens to, with one engine: its curves and its weights."""
    folder = tmp_path_factory.mktemp("whole")
    recorder = run(configuration(), data, taught, folder)
    assert list(recorder.steps) == [1, 2, 3, 4]
    return recorder, dict(read_weights(folder / "model"))


@pytest.mark.slow
def test_a_run_draws_its_curves_and_keeps_its_rollouts(whole: tuple[Recorder, dict[str, torch.Tensor]]) -> None:
    recorder, _ = whole
    always = {
        "reward", "reward_iou", "reward_distance", "reward_format", "valid", "answer_tokens", "truncated",
        "zero_variance", "staleness", "rollout_tokens_per_s", "sync_s", "engines_idle", "rewards_idle", "trainer_idle",
    }  # fmt: skip
    learned = {"ratio", "ratio_std", "clip_fraction", "entropy_estimate", "engine_gap", "train_tokens_per_s"}
    for step, metrics in recorder.steps.items():
        assert metrics.keys() >= always | (learned if metrics["zero_variance"] < 1 else set())
        assert ("probe_giou" in metrics) == (step in (2, 4))
        assert all(0 <= metrics[f"{name}_idle"] <= 1 for name in ("engines", "rewards", "trainer"))
    assert list(recorder.pages) == [("rollouts", 2), ("rollouts", 4)]
    assert recorder.pages["rollouts", 4].count("<q>red box") >= 3


def assert_same(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    for name, value in read_weights(folder):
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(
    data: Path, taught: Path, tmp_path: Path, whole: tuple[Recorder, dict[str, torch.Tensor]]
) -> None:
    """Kill -9 after the first checkpoint: the same weights come out as without."""
    with stage_process(data, taught, tmp_path) as process:
        wait_for_checkpoint(tmp_path / "work" / "checkpoints", process)
        process.send_signal(signal.SIGKILL)
    resumed = run(configuration(), data, taught, tmp_path)
    assert list(resumed.steps) == list(range(5 - len(resumed.steps), 5)) != [1, 2, 3, 4]
    assert_same(tmp_path / "model", whole[1])


class Saboteur(Recorder):
    """After some steps it sends a signal to a process that has done its part: SIGKILL, or SIGSTOP to let it hang."""

    def __init__(self, victims: dict[int, tuple[int, str]]) -> None:
        super().__init__()
        self._victims = victims

    def metrics(self, values: dict[str, float], step: int) -> None:
        super().metrics(values, step)
        if victim := self._victims.get(step):
            found = [each for each in psutil.process_iter(["name", "cmdline"]) if is_ours(each, victim[1])]
            found[0].send_signal(victim[0])


def is_ours(process: psutil.Process, title: str) -> bool:
    try:
        return title in " ".join(process.cmdline()) and process.environ().get("SIMPLESEG_FAMILY") == os.environ.get(
            "SIMPLESEG_FAMILY"
        )
    except psutil.Error:
        return False


@pytest.mark.slow
@pytest.mark.usefixtures("two_nodes")
def test_lost_processes_on_two_nodes_change_nothing(
    data: Path, taught: Path, tmp_path: Path, whole: tuple[Recorder, dict[str, torch.Tensor]]
) -> None:
    """An engine is killed, then the trainer hangs: two engines give, byte for byte, what one gives undisturbed."""
    rollout = configuration().rl.rollout.model_dump() | {"engines": 2}
    saboteur = Saboteur({1: (signal.SIGKILL, "ray::EngineActor"), 2: (signal.SIGSTOP, "ray::Trainer")})
    run(configuration(rollout=rollout, timeout_s=15), data, taught, tmp_path, saboteur)
    assert_same(tmp_path / "model", whole[1])
    assert list(saboteur.steps) == [1, 2, 3, 4]
    last = saboteur.steps[4]
    assert (last["engines_replaced"], last["trainer_restarts"]) == (1, 1)
    assert last["prompts_dropped"] > 0, "those that the lost trainer was to learn from"
    for step, metrics in saboteur.steps.items():
        assert metrics["reward"] == whole[0].steps[step]["reward"]
    gaps = [metrics["engine_gap_max"] for metrics in saboteur.steps.values() if "engine_gap_max" in metrics]
    assert len(gaps) > 1, "some step behind the first transfer has taught something"
    assert max(gaps) < 1e-4, "the engine's weights are the trainer's"


@pytest.mark.slow
@pytest.mark.usefixtures("two_nodes")
def test_one_step_off_trains_while_the_next_answers_are_drawn(
    data: Path, taught: Path, tmp_path: Path, whole: tuple[Recorder, dict[str, torch.Tensor]]
) -> None:
    """Two engines, of which one hangs, and two workers of the trainer, of which one is killed before a checkpoint."""
    rollout = configuration().rl.rollout.model_dump() | {"engines": 2}
    config = configuration(rollout=rollout, trainer_workers=2, asynchronous=True, timeout_s=15)
    drawn = Saboteur({1: (signal.SIGSTOP, "ray::EngineActor"), 3: (signal.SIGKILL, "ray::Trainer")})
    run(config, data, taught, tmp_path, drawn)
    assert [drawn.steps[step]["staleness"] for step in (1, 2, 3, 4)] == [0, 1, 1, 1]
    assert {metrics["staleness"] for metrics in whole[0].steps.values()} == {0}
    assert drawn.steps[1]["reward"] == whole[0].steps[1]["reward"], "the first answers are the same"
    dropped = [(m["engines_replaced"], m["trainer_restarts"], m["prompts_dropped"] > 0) for m in drawn.steps.values()]
    assert dropped == [(0, 0, False), (1, 0, False), (1, 0, False), (1, 1, True)]
    stale = [metrics["engine_gap_max"] for step, metrics in drawn.steps.items() if step > 1 and "train_s" in metrics]
    assert max(stale) > 1e-3, "the gap shows what a step has moved the policy"


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
    while not list(folder.rglob("step-??????/state.json")):
        assert process.poll() is None, "the stage ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.05)
