"""Outputs that a stage continues: written aside, published at the end, there again in a fresh clone."""

import json
import logging
from pathlib import Path

import pytest

from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from tasks.runs import code
from tasks.runs.outputs import seed
from tasks.runs.stage import run_stage
from tasks.runs.workspace import Workspace

PARTS = ("a", "b", "c")


def contour(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Makes three parts unless they are there, and fails at the one that `fail` names."""
    folder = outputs["polygons"]
    folder.mkdir(parents=True, exist_ok=True)
    made = [part for part in PARTS if not (folder / part).exists()]
    for part in made:
        if Path("fail").exists() and Path("fail").read_text() == part:
            raise RuntimeError(part)
        (folder / part).write_text(part)
    return StageResult({"made": float(len(made))})


@pytest.fixture
def quiet(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr("tasks.runs.stage.load_stage", lambda name: contour)
    workspace.params.write_text(workspace.params.read_text().replace("system_metrics: true", "system_metrics: false"))
    (workspace.root / "data" / "masks").mkdir(parents=True)
    return workspace


def made(workspace: Workspace) -> float:
    return float(json.loads(workspace.metrics("contour").read_text())["made"])


def published(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in (workspace.root / "data" / "polygons").glob("*"))


def test_a_stage_that_failed_goes_on_from_its_parts_and_publishes_when_it_ends(quiet: Workspace) -> None:
    (quiet.root / "fail").write_text("c")
    with pytest.raises(RuntimeError):
        run_stage(quiet, "contour")
    assert published(quiet) == []
    (quiet.root / "fail").unlink()
    run_stage(quiet, "contour")
    assert made(quiet) == 1
    assert published(quiet) == list(PARTS)


def test_finished_parts_are_kept_until_somebody_forces(quiet: Workspace) -> None:
    run_stage(quiet, "contour")
    (quiet.root / "fail").write_text("a")
    run_stage(quiet, "contour")
    assert made(quiet) == 0
    with pytest.raises(RuntimeError):
        run_stage(quiet, "contour", anew=True)


def test_the_pipeline_forces_through_the_environment(quiet: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run_stage(quiet, "contour")
    monkeypatch.setenv("SIMPLESEG_ANEW", "1")
    run_stage(quiet, "contour")
    assert made(quiet) == len(PARTS)


def test_changed_code_makes_all_parts_again(
    quiet: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_stage(quiet, "contour")
    now = code._hash
    monkeypatch.setattr(code, "_hash", lambda module: "other" if module == "tasks.contour" else now(module))
    with caplog.at_level(logging.INFO):
        run_stage(quiet, "contour")
    assert made(quiet) == len(PARTS)
    assert "code changed since contour last ran (tasks.contour)" in caplog.text


def test_a_fresh_clone_goes_on_from_the_outputs_that_dvc_has_brought(quiet: Workspace) -> None:
    folder = quiet.root / "data" / "polygons"
    folder.mkdir()
    for part in PARTS[:2]:
        (folder / part).write_text(part)
    seed(quiet, "contour")
    run_stage(quiet, "contour")
    assert made(quiet) == 1
    assert published(quiet) == list(PARTS)
