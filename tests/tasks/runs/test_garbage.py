"""Making room: what is old and in no use goes, on request only; what is in use stays."""

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from tasks.runs.data_version import reproduce
from tasks.runs.garbage import leftovers
from tasks.runs.lock import alone
from tasks.runs.workspace import Workspace
from tests.tiny_pipeline import git


def _checkpoint(workspace: Workspace, name: str, days: float) -> Path:
    folder = workspace.work("sft") / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "step-000010.pt").write_bytes(bytes(1 << 20))
    then = time.time() - days * 86_400
    for path in (folder / "step-000010.pt", folder):
        os.utime(path, (then, then))
    return folder


def _gc(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["gc", *arguments])
    return done.exit_code, done.output


def test_only_what_nobody_has_touched_for_long_is_left_over(workspace: Workspace) -> None:
    old, new = _checkpoint(workspace, "old", 40), _checkpoint(workspace, "new", 3)
    (found,) = leftovers(workspace, days=30)
    assert (found.path, round(found.days)) == (old, 40)
    assert found.size >= 1 << 20
    assert {each.path for each in leftovers(workspace, days=0)} == {old, new}


def test_old_versions_and_checkpoints_go_on_request_and_what_is_in_use_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.test:5000")  # a server's store is not ours to collect
    reproduce(workspace, "ingest", {}, lambda line: None)
    cached = workspace.root / ".dvc" / "cache" / "files"
    first = {path for path in cached.rglob("*") if path.is_file()}
    git(workspace.root, "add", "-A")
    git(workspace.root, "commit", "-qm", "first")
    script = workspace.root / "stage.py"
    script.write_text(script.read_text().replace("write_text(name)", "write_text(name * 2)"))
    reproduce(workspace, "ingest", {}, lambda line: None, force=True)
    git(workspace.root, "commit", "-qam", "second")
    both = {path for path in cached.rglob("*") if path.is_file()}
    old = _checkpoint(workspace, "old", 40)
    code, text = _gc("--versions", "1")
    assert (code, "nothing was removed" in text, old.exists()) == (0, True, True), text
    assert {path for path in cached.rglob("*") if path.is_file()} == both
    code, text = _gc("--versions", "1", "--yes")
    assert (code, old.exists(), "mlflow gc" in text) == (0, False, True), text
    assert {path for path in cached.rglob("*") if path.is_file()} == both - first
    with alone(workspace.run_lock, "a pipeline"):
        assert _gc("--yes")[0] == 1
