"""What the data stages counted, as tables for people, whatever keys they used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TITLES = {"images": "What became of the rows of metadata", "dataset": "Leakage"}
_SHOWN = {"images": ("status",), "dataset": ("leaked_images", "leakage")}
"""Parts of the summaries that have no picture on the page."""


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names, and rows of cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def count_tables(summaries: Mapping[str, Any]) -> dict[str, list[Table]]:
    """Title -> tables of what the JSON summaries of `images` and `dataset` say of refused and of leaked images."""
    chosen = {output: {key: summaries.get(output, {}).get(key) for key in keys} for output, keys in _SHOWN.items()}
    found = {output: [table for value in parts.values() for table in _any(value)] for output, parts in chosen.items()}
    return {_TITLES[output]: shown for output, shown in found.items() if shown}


def _any(value: object) -> Iterator[Table]:
    if isinstance(value, dict):
        yield from tables("", value)
    elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield _records("", value)


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


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    return Table(title, ("", ""), tuple((key.replace("_", " "), value) for key, value in values.items()))


def _records(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(title, columns, tuple(tuple(row.get(column, "") for column in columns) for row in rows))
