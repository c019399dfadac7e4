"""How many images were refused, and how many leaked, as tables for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = {
    "images": ("What became of the rows of metadata", ("status",)),
    "dataset": ("Leakage", ("leaked_images", "leakage")),
}
"""Output -> a heading, and the parts of its summary that have no picture on the page."""


@dataclass(frozen=True, slots=True)
class Table:
    """Column names, and rows of cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def count_tables(summaries: Mapping[str, Any]) -> dict[str, list[Table]]:
    """Heading -> tables of what the JSON summaries of `images` and `dataset` say of refused and of leaked images."""
    found = {
        heading: list(_tables(summaries.get(output, {}).get(key) for key in keys))
        for output, (heading, keys) in _SHOWN.items()
    }
    return {heading: tables for heading, tables in found.items() if tables}


def _tables(parts: Iterator[Any]) -> Iterator[Table]:
    """Of each part that is not empty: of counts by name, or of rows."""
    for part in parts:
        if part:
            yield _pairs(part) if isinstance(part, dict) else _records(part)


def _pairs(values: Mapping[str, Any]) -> Table:
    return Table(("", ""), tuple((key.replace("_", " "), value) for key, value in values.items()))


def _records(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(columns, tuple(tuple(row.get(column, "") for column in columns) for row in rows))
