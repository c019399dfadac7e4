"""Which answers a name means: of a model here, of a model at a commit or in an MLflow run, or of files."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simpleseg_core.data.records import PREDICTIONS, PROMPTS, read_rows
from simpleseg_core.evaluation.comparison import Answers
from simpleseg_core.names import did_you_mean
from tasks.graph import STAGES
from tasks.runs.workspace import Workspace

PREDICTED = Path(STAGES["evaluate"].outputs["predictions"])
_MLFLOW_ID = re.compile(r"[0-9a-f]{32}")

RunHash = Callable[[Workspace, str], str]
"""MLflow run id, in the store of a working copy, -> DVC hash of the predictions that it made."""


def read_run(workspace: Workspace | None, name: str, of_mlflow: RunHash) -> Answers:
    """The answers that a name means, by benchmark.

    Args:
        workspace: None outside a working copy, where only files can be named.
        name: a folder of BENCHMARK.parquet or one such file, MODEL, MODEL@REVISION of git, or MODEL@ID of MLflow.

    Raises:
        FileNotFoundError: DVC does not hold the predictions of that revision or run any more.
        ValueError: it means nothing, or no predictions are there.
    """
    if Path(name).exists():
        return _read(Path(name), name)
    if workspace is None:
        raise ValueError(f"{name}: no such file or folder; outside a working copy only those can be compared")
    model, _, version = name.partition("@")
    folder = _taken_out(workspace, version, of_mlflow) if version else workspace.root / PREDICTED
    if not (folder / model).is_dir():
        have = sorted(each.name for each in folder.glob("*") if each.is_dir())
        known = f"; answers are here of {', '.join(have)}" if have else "; `simpleseg run --until evaluate` makes some"
        raise ValueError(f"{name}: no model {model!r} was evaluated{did_you_mean(model, have)}{known}")
    return _read(folder / model, name)


def drawable_queries(workspace: Workspace) -> Callable[[Mapping[str, Any]], bool]:
    """Whether the picture of a query is in the working copy: whether its benchmarks ask it, of the same mask."""
    files = sorted((workspace.root / STAGES["dataset"].outputs["dataset"] / "benchmarks").glob("*.parquet"))
    asked = {(row["sample"], row["rle_counts"]) for file in files for row in read_rows(file, PROMPTS)}
    return lambda row: (row["sample"], row["rle_counts"]) in asked


def _taken_out(workspace: Workspace, version: str, of_mlflow: RunHash) -> Path:
    """Predictions of another version, in the folder where the tools of a working copy remember things."""
    from tasks.runs.cached import hash_at, take_out

    md5 = of_mlflow(workspace, version) if _MLFLOW_ID.fullmatch(version) else hash_at(workspace, version, PREDICTED)
    if md5 is None:
        raise ValueError(f"{version}: its dvc.lock knows no {PREDICTED}; nothing was evaluated there")
    workspace.make_state()
    folder = workspace.state / "predictions" / md5.removesuffix(".dir")
    if not folder.is_dir():
        take_out(workspace, md5, folder)
    return folder


def _read(path: Path, name: str) -> Answers:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    tables = [rows for file in files if (rows := read_rows(file, PREDICTIONS))]
    if not tables:
        raise ValueError(f"{name}: no predictions here: a folder of BENCHMARK.parquet, or one of them, is expected")
    return {rows[0]["benchmark"]: rows for rows in tables}
