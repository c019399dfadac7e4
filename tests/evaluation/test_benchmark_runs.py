"""Kept predictions are those of the very settings that are asked for."""

from pathlib import Path

import pytest

from simpleseg_core.config import Config, DatasetConfig, EvaluateConfig, RewardConfig, RLConfig, Style
from simpleseg_core.evaluation.benchmark_runs import plan_runs
from tests.evaluation.fabricated import write_benchmark


@pytest.mark.parametrize("constrained", [False, True])
def test_the_style_of_answers_counts(tmp_path: Path, constrained: bool) -> None:
    write_benchmark(tmp_path, "val", 1)
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")

    def fingerprint(style: Style) -> str:
        settings = EvaluateConfig(models=("base",), constrained=constrained)
        rewards = RewardConfig(style=style)
        config = Config(evaluate=settings, dataset=DatasetConfig(style=style), rl=RLConfig(rewards=rewards))
        [run] = plan_runs(
            config, {"dataset": tmp_path / "dataset", "pretrain": weights.parent}, tmp_path / "out", tmp_path
        )
        return run.fingerprint

    assert fingerprint("unit") != fingerprint("permille")  # they are read in it
