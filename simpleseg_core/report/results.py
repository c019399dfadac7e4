"""The predictions of a run, summarised: what `metrics.json`, `differences.json` and the page are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from simpleseg_core.config import Config
from simpleseg_core.data.records import PREDICTIONS, read_rows
from simpleseg_core.evaluation import Difference, compare, summarise
from simpleseg_core.metrics import Interval, Predictions

Rows = list[dict[str, Any]]
Json = dict[str, Any]
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Results:
    """Everything measured; benchmarks in the order of the page, `val` first, models in that of the
    configuration."""

    rows: dict[str, dict[str, Rows]]
    """Benchmark -> model -> PREDICTIONS rows."""
    predictions: dict[str, dict[str, Predictions]]
    summaries: dict[str, dict[str, dict[str, Interval]]]
    """Benchmark -> model -> metric."""
    differences: dict[str, dict[tuple[str, str], dict[str, Difference]]]
    """Benchmark -> (later model, earlier model) -> metric."""
    labels: dict[str, str]
    """Model -> what people read, of those that answered at least one benchmark."""


def read_results(folder: Path, config: Config) -> Results:
    """Read and summarise MODEL/BENCHMARK.parquet of a folder.

    Raises:
        FileNotFoundError: no predictions.
        ValueError: two models answered different queries of a benchmark.
    """
    rows = _read(folder, config)
    settings = {"samples": config.evaluate.bootstrap_samples, "seed": config.seed}
    predictions = {
        name: {model: Predictions.from_rows(found) for model, found in models.items()} for name, models in rows.items()
    }
    return Results(
        rows,
        predictions,
        {
            name: {model: summarise(each, **settings) for model, each in models.items()}
            for name, models in predictions.items()
        },
        {name: _differences(models, settings) for name, models in predictions.items()},
        {
            model.name: model.title
            for model in config.evaluate.models
            if any(model.name in found for found in rows.values())
        },
    )


def metrics_json(results: Results) -> Json:
    """Model -> benchmark -> metric -> `value`, `low`, `high` (95%); in the unit of the metric."""
    return {
        model: {
            benchmark: {name: _interval(interval) for name, interval in models[model].items()}
            for benchmark, models in results.summaries.items()
            if model in models
        }
        for model in results.labels
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
    files = [file for model in config.evaluate.models for file in sorted((folder / model.name).glob("*.parquet"))]
    if not files:
        raise FileNotFoundError(f"{folder}: no predictions here; run `simpleseg stage evaluate` first")
    table: dict[str, dict[str, Rows]] = {}
    for file in files:
        rows = read_rows(file, PREDICTIONS)
        if rows:
            table.setdefault(rows[0]["benchmark"], {})[file.parent.name] = rows
    names = sorted(table, key=lambda name: (not name.endswith("val"), name))
    return {name: table[name] for name in names}


def _differences(
    models: Mapping[str, Predictions], settings: Mapping[str, int]
) -> dict[tuple[str, str], dict[str, Difference]]:
    return {
        (later, earlier): compare(models[later], models[earlier], **settings) for earlier, later in pairwise(models)
    }


def _interval(found: Interval | Difference) -> Json:
    return {"value": round(found.mean, _DIGITS), "low": round(found.low, _DIGITS), "high": round(found.high, _DIGITS)}
