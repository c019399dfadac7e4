"""Kept predictions are those of the very settings that are asked for."""

from pathlib import Path

import pytest

from simpleseg_core.config import Config, DatasetConfig, EvaluateConfig, Style
from simpleseg_core.evaluation.jobs import plan_jobs
from tests.evaluation.fabricated import write_benchmark


@pytest.mark.parametrize("constrained", [False, True])
def test_the_style_of_answers_counts_where_it_constrains_them(tmp_path: Path, constrained: bool) -> None:
    write_benchmark(tmp_path, "val", 1)
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")

    def fingerprint(style: Style) -> str:
        settings = EvaluateConfig(models=("base",), constrained=constrained)
        config = Config(evaluate=settings, dataset=DatasetConfig(style=style))
        [job] = plan_jobs(config, {"dataset": tmp_path / "dataset", "base": weights.parent}, tmp_path / "out", tmp_path)
        return job.fingerprint

    assert (fingerprint("unit") != fingerprint("permille")) == constrained
