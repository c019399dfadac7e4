"""The curves of a stage as one CSV file, a row a step and a column a metric: what DVC and the report plot."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simpleseg_core.files import write_text


@dataclass(slots=True)
class Curves:
    """Points collected by step; a step seen twice (before and after a crash) keeps the later values."""

    file: Path
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.setdefault(step, {}).update(values)
        self.columns.update(dict.fromkeys(values))

    def write(self) -> None:
        """Write the whole file; cells that were not measured stay empty."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["step", *self.columns])
        for step, row in sorted(self.rows.items()):
            table.writerow([step, *(f"{row[column]:.6g}" if column in row else "" for column in self.columns)])
        write_text(self.file, text.getvalue())
