"""Git passes over what our commands write: by default, in the examples of help and documents, and as stages."""

import re
import subprocess
from pathlib import Path
from typing import Any

import typer

from flows.cli.app import app
from tasks.graph import STAGES
from tasks.runs.workspace import Workspace


def _not_ignored(repository: Path, paths: set[str]) -> set[str]:
    """What git would offer to add."""
    asked = "\n".join(sorted(paths))
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"], cwd=repository, input=asked, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return paths - set(done.stdout.split("\n"))


def _commands(command: Any) -> list[Any]:
    return [command, *(each for one in getattr(command, "commands", {}).values() for each in _commands(one))]


def test_where_commands_write_unless_told_otherwise(repository: Path) -> None:
    options = [option for command in _commands(typer.main.get_command(app)) for option in command.params]
    written = {str(option.default) for option in options if "--out" in option.opts and option.default is not None}
    assert "overlay.png" in written
    inside = {path if Path(path).suffix else f"{path}/x" for path in written}
    assert _not_ignored(repository, inside) == set()


def test_where_examples_write(repository: Path) -> None:
    documents = [repository / "README.md", *(repository / "docs").rglob("*.md"), *(repository / "flows").rglob("*.py")]
    written = {path for file in documents for path in re.findall(r"--out ([a-z][\w/.]+)", file.read_text())}
    assert {"annotated", "export/coco"} <= written
    inside = {path if Path(path).suffix else f"{path}/x" for path in written}
    assert _not_ignored(repository, inside) == set()


def test_what_stages_and_runs_leave(repository: Path) -> None:
    workspace = Workspace(repository)
    outputs = {path for spec in STAGES.values() for path in spec.outputs.values()}
    outputs = {path for path in outputs if path.suffix != ".json"}  # numbers, which git versions
    state = {workspace.work("sft"), workspace.tracking("sft"), workspace.ui_state, workspace.prefect_home}
    servers = {Path(name) for name in ("mlflow.db", "mlflow.db-wal", "mlruns/1/a", "mlartifacts/1/a")}
    paths = {str(path.relative_to(repository) if path.is_absolute() else path) for path in outputs | state | servers}
    assert _not_ignored(repository, {path if Path(path).suffix else f"{path}/x" for path in paths}) == set()
