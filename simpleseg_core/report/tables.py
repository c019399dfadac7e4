"""What the data stages counted, as tables for people, whatever keys they used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simpleseg_core.annotate import funnel

_TITLES = {"ingest": "Images fetched", "contour": "Instances: the filters", "dataset": "Dataset"}


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names, and rows of cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    largest: float | None = None
    """Where the second column holds counts: what a full bar beside them stands for."""


def count_tables(counts: Mapping[str, Any]) -> dict[str, list[Table]]:
    """Title -> tables of a stage's JSON summary: its numbers together, then each table or mapping inside it."""
    return {
        _TITLES[stage]: [_funnel(found)] if stage == "contour" and "detected" in found else list(tables("", found))
        for stage, found in counts.items()
    }


def tables(title: str, value: Mapping[str, Any]) -> Iterator[Table]:
    """The plain values of a mapping as one table, lists of rows and inner mappings as further ones, depth first."""
    plain = {key: each for key, each in value.items() if not isinstance(each, (dict, list))}
    if plain:
        yield _pairs(title, plain)
    for key, each in value.items():
        name = f"{title}: {key}" if title else str(key)
        if isinstance(each, dict) and each:
            yield from tables(name, each)
        elif isinstance(each, list) and each and all(isinstance(row, dict) for row in each):
            yield _records(name, each)


def _funnel(counts: Mapping[str, Any]) -> Table:
    """What each filter dropped and what was left."""
    rows = tuple((row["filter"], row["kept"], row["dropped"]) for row in funnel(int(counts["detected"]), counts))
    return Table("", ("filter", "kept", "dropped"), rows, float(counts["detected"]))


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    counts = [value for value in values.values() if _is_count(value)]
    largest = max(counts) if len(counts) == len(values) > 1 else None
    return Table(title, ("", ""), tuple((key.replace("_", " "), value) for key, value in values.items()), largest)


def _records(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(title, columns, tuple(tuple(row.get(column, "") for column in columns) for row in rows))


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
