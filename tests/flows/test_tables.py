"""The tables after a run, from the files that the stages write."""

from base64 import b64decode
from io import BytesIO
from pathlib import Path

from PIL import Image

from flows.tables import benchmark_rows, funnel_plot, funnel_rows, headline_metrics
from simpleseg_core.files import write_json
from tasks.runs.workspace import Workspace


def test_benchmarks_start_with_val_and_models_keep_their_order(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    cell = {"giou": {"value": 70.04, "low": 65.0, "high": 75.0}, "tokens": {"value": 40.0, "low": 39.0, "high": 41.0}}
    write_json(
        workspace.final_metrics,
        {"zero": {"refshapes/val": cell}, "rl": {"refshapes/testA": cell, "refshapes/val": cell}},
    )
    rows = benchmark_rows(workspace)
    assert [(row["benchmark"], row["model"]) for row in rows] == [
        ("refshapes/val", "zero"), ("refshapes/val", "rl"), ("refshapes/testA", "rl"),
    ]  # fmt: skip
    assert rows[0]["gIoU"] == "70.0 ±5.0"
    assert rows[0]["cIoU"] == ""
    assert headline_metrics(workspace)["rl/refshapes/val/giou"] == 70.04


def test_before_the_first_run_there_is_nothing(tmp_path: Path) -> None:
    assert benchmark_rows(Workspace(tmp_path)) == []
    assert funnel_rows(Workspace(tmp_path)) == []
    assert headline_metrics(Workspace(tmp_path)) == {}


def test_the_funnel_is_a_picture_inside_its_markdown() -> None:
    text = funnel_plot([{"filter": "detected", "dropped": 0, "kept": 8}, {"filter": "area", "dropped": 3, "kept": 5}])
    before, _, data = text.removesuffix(")").partition("(data:image/png;base64,")
    assert before == "![What each filter dropped]"
    assert Image.open(BytesIO(b64decode(data))).width > 600
