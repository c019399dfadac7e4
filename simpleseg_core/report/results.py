"""The predictions of a run, summarised: what `metrics.json`, `differences.json` and the page are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from simpleseg_core.config import Config
from simpleseg_core.data.records import PREDICTIONS, read_rows
from simpleseg_core.evaluation import Difference, Outcomes, compare, summarise
from simpleseg_core.metrics import Interval

MODEL_LABELS = {"base": "Base", "sft": "SFT", "rl": "SFT + RL"}
"""Models in the order in which they are trained, with the names that people read."""

Rows = list[dict[str, Any]]
Json = dict[str, Any]
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Results:
    """Everything measured; benchmarks in the order of the page, `val` first, models in the order of training."""

    rows: dict[str, dict[str, Rows]]
    """Benchmark -> model -> PREDICTIONS rows."""
    outcomes: dict[str, dict[str, Outcomes]]
    summaries: dict[str, dict[str, dict[str, Interval]]]
    """Benchmark -> model -> metric."""
    differences: dict[str, dict[tuple[str, str], dict[str, Difference]]]
    """Benchmark -> (later model, earlier model) -> metric."""

    @property
    def models(self) -> list[str]:
        """Models that answered at least one benchmark."""
        answered = {model for models in self.rows.values() for model in models}
        return [model for model in MODEL_LABELS if model in answered]


def read_results(predictions: Path, config: Config) -> Results:
    """Read and summarise MODEL/BENCHMARK.parquet of a folder.

    Raises:
        FileNotFoundError: no predictions.
        ValueError: two models answered different queries of a benchmark.
    """
    rows = _read(predictions, config)
    settings = {"samples": config.evaluate.bootstrap_samples, "seed": config.seed}
    outcomes = {
        name: {model: Outcomes.from_rows(found) for model, found in models.items()} for name, models in rows.items()
    }
    return Results(
        rows,
        outcomes,
        {
            name: {model: summarise(each, **settings) for model, each in models.items()}
            for name, models in outcomes.items()
        },
        {name: _differences(models, settings) for name, models in outcomes.items()},
    )


def metrics_json(results: Results) -> Json:
    """Model -> benchmark -> metric -> `value`, `low`, `high` (95%); percent, but for tokens."""
    return {
        model: {
            benchmark: {name: _interval(interval) for name, interval in models[model].items()}
            for benchmark, models in results.summaries.items()
            if model in models
        }
        for model in results.models
    }


def differences_json(results: Results) -> Json:
    """`LATER-EARLIER` -> benchmark -> metric -> `value`, `low`, `high`, `verdict` of the paired difference."""
    table: Json = {}
    for benchmark, pairs in results.differences.items():
        for (later, earlier), metrics in pairs.items():
            cells = {name: _interval(found) | {"verdict": found.verdict} for name, found in metrics.items()}
            table.setdefault(f"{later}-{earlier}", {})[benchmark] = cells
    return table


def _read(folder: Path, config: Config) -> dict[str, dict[str, Rows]]:
    files = [file for model in config.evaluate.models for file in sorted((folder / model).glob("*.parquet"))]
    if not files:
        raise FileNotFoundError(f"{folder}: no predictions here; run `simpleseg stage evaluate` first")
    table: dict[str, dict[str, Rows]] = {}
    for file in files:
        rows = read_rows(file, PREDICTIONS)
        if rows:
            table.setdefault(rows[0]["benchmark"], {})[file.parent.name] = rows
    names = sorted(table, key=lambda name: (not name.endswith("val"), name))
    return {name: {model: table[name][model] for model in MODEL_LABELS if model in table[name]} for name in names}


def _differences(
    models: Mapping[str, Outcomes], settings: Mapping[str, int]
) -> dict[tuple[str, str], dict[str, Difference]]:
    return {
        (later, earlier): compare(models[later], models[earlier], **settings) for earlier, later in pairwise(models)
    }


def _interval(found: Interval | Difference) -> Json:
    return {"value": round(found.mean, _DIGITS), "low": round(found.low, _DIGITS), "high": round(found.high, _DIGITS)}
