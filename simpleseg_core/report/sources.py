"""What the page shows besides predictions: facts of the run, training curves, and what the data stages counted."""

import csv
import json
import logging
import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from simpleseg_core.viz import Curve

_log = logging.getLogger(__name__)
_TRAINED = ("pretrain", "sft", "rl")
_SUMMARIES = {
    **dict.fromkeys(("images", "boxes", "masks", "polygons", "descriptions"), "summary.json"),
    "dataset": "composition.json",
}
"""Outputs of data stages -> the JSON that tells what is in them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Where the numbers come from."""

    profile: str
    seed: int
    source: str
    date: str
    commit: str
    """Short hash, `+` behind it when the working copy had changes; empty outside git."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything optional: what is not there is not shown."""

    curves: dict[str, list[Curve]] = field(default_factory=dict)
    """Stage -> its curves."""
    stage_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage -> headline numbers."""
    summaries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """`images`, `boxes`, ..., `dataset` -> the JSON summary that the stage left beside its data."""


def read_sources(data: Path, reports: Path) -> Sources:
    """Curves (`reports/curves`), metrics (`reports/metrics`) and summaries (under `data`), as far as they exist."""
    curves = {name: read_curves(reports / "curves" / f"{name}.csv") for name in _TRAINED}
    metrics = {file.stem: _json(file) for file in sorted((reports / "metrics").glob("*.json"))}
    summaries = {output: _json(data / output / name) for output, name in _SUMMARIES.items()}
    return Sources(
        {name: found for name, found in curves.items() if found},
        {name: found for name, found in metrics.items() if isinstance(found, dict) and found},
        {name: found for name, found in summaries.items() if found},
    )


def read_curves(file: Path) -> list[Curve]:
    """The columns of a CSV with a row for each step and a column `step`; cells that were not measured are empty."""
    if not file.is_file():
        return []
    points: dict[str, list[tuple[float, float]]] = {}
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            for name, cell in row.items():
                if name != "step" and cell and math.isfinite(value := float(cell)):
                    points.setdefault(name, []).append((float(row["step"]), value))
    return [Curve(name, *np.array(found, np.float64).T) for name, found in points.items()]


def git_facts(folder: Path) -> str:
    """Short hash of the commit of a folder, with `+` when files have changed since; empty where there is no git."""
    try:
        commit = _git(folder, "rev-parse", "--short", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def today() -> str:
    """Date and time in UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        _log.warning("%s: not JSON (%s); the page leaves it out", file, error)
        return {}
    return found if isinstance(found, dict) else {}
