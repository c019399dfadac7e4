"""The tables that people look at after a run, read from what the stages have written."""

from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import Image

from simpleseg_core.files import read_state
from tasks.runs.workspace import Workspace


def benchmark_rows(workspace: Workspace) -> list[dict[str, str]]:
    """A row for each model and benchmark, as text: what the report found, ± half of each interval; in its order."""
    from simpleseg_core.metrics import HEADLINES  # compiled geometry comes with it: half a second

    results = sorted(_results(workspace), key=lambda result: _val_first(result[0]))
    return [
        {"benchmark": benchmark, "model": model}
        | {metric.label: _cell(values.get(name)) for name, metric in HEADLINES.items()}
        for benchmark, model, values in results
    ]


def headline_metrics(workspace: Workspace) -> dict[str, float]:
    """`MODEL/BENCHMARK/METRIC` -> value, for the parent run."""
    return {
        f"{model}/{benchmark}/{name}": float(cell["value"])
        for benchmark, model, values in _results(workspace)
        for name, cell in values.items()
        if isinstance(cell, dict) and "value" in cell
    }


def funnel_rows(workspace: Workspace) -> list[dict[str, Any]]:
    """The filter funnel of the contour stage."""
    tables = read_state(workspace.tracking("contour") / "tables.json")
    return list(tables.get("funnel", ()))


def funnel_plot(rows: list[dict[str, Any]]) -> str:
    """The plot of a filter funnel as Markdown with the picture inside: Prefect keeps no files."""
    from simpleseg_core.viz import funnel_picture  # matplotlib takes half a second

    buffer = BytesIO()
    Image.fromarray(funnel_picture(rows)).save(buffer, format="PNG", optimize=True)
    return f"![What each filter dropped](data:image/png;base64,{b64encode(buffer.getvalue()).decode('ascii')})"


def _results(workspace: Workspace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for model, benchmarks in read_state(workspace.final_metrics).items():
        for benchmark, values in benchmarks.items():
            yield benchmark, model, values


def _cell(cell: Any) -> str:
    if not isinstance(cell, dict):
        return "" if cell is None else f"{cell:.1f}"
    interval = f" ±{(cell['high'] - cell['low']) / 2:.1f}" if "low" in cell and "high" in cell else ""
    return f"{cell['value']:.1f}{interval}"


def _val_first(benchmark: str) -> tuple[bool, str]:
    return (not benchmark.endswith("val"), benchmark)
