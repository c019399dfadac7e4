"""Runs side by side on the queries that all of them answered: paired differences, and the answers that changed most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simpleseg_core.evaluation.summary import Difference, compare, kinds_of, sizes_of, summarise
from simpleseg_core.metrics import Interval, Predictions

Row = Mapping[str, Any]
Answers = Mapping[str, Sequence[Row]]
"""Benchmark -> PREDICTIONS rows of one run."""

_SAME = ("question", "height", "width", "rle_counts")
"""Two rows of one `sample` are one query where these are equal too."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the queries, such as those of one kind, and how runs differ on them."""

    group: str
    name: str
    count: int
    differences: dict[str, dict[str, Difference]]
    """Run but the first -> metric -> run minus the first."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs on one benchmark, the one that the others are measured against first."""

    benchmark: str
    rows: dict[str, list[Row]]
    """Run -> PREDICTIONS, the same queries in the same order."""
    left_out: int
    """Queries that not every run answered, or that do not mean the same mask in all."""
    summaries: dict[str, dict[str, Interval]]
    """Run -> metric."""
    whole: Subset
    parts: tuple[Subset, ...]
    """By kind of query and by size of the object."""

    @property
    def queries(self) -> int:
        """How many every run answered."""
        return self.whole.count

    def changed(self, run: str, count: int) -> tuple[list[int], list[int]]:
        """Indices of up to `count` queries with the largest loss and with the largest gain of IoU over the first run.

        Queries with the same IoU in both are in neither.
        """
        first = next(iter(self.rows.values()))
        change = np.array([new["iou"] - old["iou"] for old, new in zip(first, self.rows[run], strict=True)])
        order = np.argsort(change, kind="stable")
        lost = [int(index) for index in order[:count] if change[index] < 0]
        won = [int(index) for index in order[::-1][:count] if change[index] > 0]
        return lost, won


def compare_runs(runs: Mapping[str, Answers], *, samples: int = 2000, seed: int = 0) -> list[Comparison]:
    """Compare every run with the first, on each benchmark that all of them answered; `val` first.

    Args:
        runs: name -> its answers.
        samples: resamples of the bootstrap.

    Raises:
        ValueError: fewer than two runs, or they share no query.
    """
    if len(runs) < 2:
        raise ValueError("name two runs or more: the first is what the others are compared with")
    shared = set.intersection(*(set(answers) for answers in runs.values()))
    names = sorted(shared, key=lambda name: (not name.endswith("val"), name))
    aligned = {name: _align({run: answers[name] for run, answers in runs.items()}) for name in names}
    found = [
        _comparison(name, rows, left_out, samples, seed)
        for name, (rows, left_out) in aligned.items()
        if any(rows.values())
    ]
    if not found:
        have = "; ".join(f"{run}: {', '.join(sorted(answers)) or 'nothing'}" for run, answers in runs.items())
        raise ValueError(f"the runs answered no query in common ({have}): evaluate both on one dataset")
    return found


def _align(runs: Mapping[str, Sequence[Row]]) -> tuple[dict[str, list[Row]], int]:
    """The rows of the queries that all runs share, in the first run's order, and how many queries are left out."""
    tables = {run: {row["sample"]: row for row in rows} for run, rows in runs.items()}
    first, *others = tables.values()
    shared = [
        sample
        for sample, row in first.items()
        if all(sample in other and _same_query(row, other[sample]) for other in others)
    ]
    everything = set[str]().union(*tables.values())
    return {run: [table[sample] for sample in shared] for run, table in tables.items()}, len(everything) - len(shared)


def _same_query(first: Row, second: Row) -> bool:
    return all(first[name] == second[name] for name in _SAME)


def _comparison(benchmark: str, rows: dict[str, list[Row]], left_out: int, samples: int, seed: int) -> Comparison:
    predictions = {run: Predictions.from_rows(found) for run, found in rows.items()}
    first = next(iter(predictions.values()))
    groups = {"kind of query": kinds_of(first), "size of the object": sizes_of(first)}
    return Comparison(
        benchmark,
        rows,
        left_out,
        {run: summarise(each, samples=samples, seed=seed) for run, each in predictions.items()},
        _part("all", "all", predictions, samples, seed),
        tuple(
            _part(group, name, {run: each.where(chosen) for run, each in predictions.items()}, samples, seed)
            for group, parts in groups.items()
            for name, chosen in parts.items()
        ),
    )


def _part(group: str, name: str, predictions: Mapping[str, Predictions], samples: int, seed: int) -> Subset:
    (_, first), *others = predictions.items()
    differences = {run: compare(each, first, samples=samples, seed=seed) for run, each in others}
    return Subset(group, name, len(first), differences)


def comparison_json(found: Sequence[Comparison]) -> dict[str, Any]:
    """Benchmark -> `queries`, `left_out`, `runs` and `differences` (run -> metric -> numbers), `parts` likewise."""
    return {
        each.benchmark: {
            "queries": each.queries,
            "left_out": each.left_out,
            "runs": {
                run: {name: _numbers(value) for name, value in table.items()} for run, table in each.summaries.items()
            },
            "differences": _differences(each.whole),
            "parts": [
                {"group": part.group, "name": part.name, "queries": part.count, "differences": _differences(part)}
                for part in each.parts
            ],
        }
        for each in found
    }


def _differences(part: Subset) -> dict[str, Any]:
    return {
        run: {name: _numbers(value) | {"verdict": value.verdict} for name, value in table.items()}
        for run, table in part.differences.items()
    }


def _numbers(found: Interval | Difference) -> dict[str, Any]:
    return {"value": round(found.mean, 4), "low": round(found.low, 4), "high": round(found.high, 4)}
