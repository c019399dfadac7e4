"""What the page shows besides predictions: facts of the run, training curves, and what the data stages counted."""

import csv
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from simpleseg_core.viz import Curve

_log = logging.getLogger(__name__)


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


def read_sources(curves: Mapping[str, Path], metrics: Mapping[str, Path], summaries: Mapping[str, Path]) -> Sources:
    """Read what exists of the files that stages have left: the curves and metrics of each, the summary of each output.

    A file that cannot be read is left out, with a warning.
    """
    return Sources(
        {name: drawn for name, file in curves.items() if (drawn := read_curves(file))},
        {name: dict(values) for name, file in metrics.items() if (values := _json(file))},
        {name: counts for name, file in summaries.items() if (counts := _json(file))},
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


def today() -> str:
    """Date and time in UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        _log.warning("%s: not JSON (%s); the page leaves it out", file, error)
        return {}
    return found if isinstance(found, dict) else {}
