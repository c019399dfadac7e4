"""`simpleseg rl replay` on a kept table."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from flows.cli.console import out
from simpleseg_core.training.rl_table import rollouts_folder, write_rollouts
from tasks.runs.workspace import Workspace
from tests.training.rollouts import table


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy in which step 7 was kept, as the current folder."""
    (tmp_path / "dvc.yaml").touch()
    write_rollouts(table(), rollouts_folder(Workspace(tmp_path).work("rl")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(out, "width", 200)
    return tmp_path


def replay(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rl", "replay", *arguments])


@pytest.mark.usefixtures("kept")
def test_a_step_is_printed_worst_prompt_first_with_text_as_it_was_written() -> None:
    found = replay("7", "--prompts", "2")
    assert found.exit_code == 0
    assert found.output.index("1. shape 2") < found.output.index("2. shape 1")
    assert "shape 0" not in found.output
    assert '<img src=x onerror="alert(1)">[red]' in found.output, "answers are no markup"
    assert "1.30000" in found.output
    assert "cut off" in found.output
    assert "1 more prompts" in found.output


@pytest.mark.usefixtures("kept")
def test_programs_get_the_whole_table() -> None:
    groups = json.loads(replay("7", "--json").output)["groups"]
    assert [group["prompt"]["sample"] for group in groups] == ["p2", "p1", "p0"]


@pytest.mark.usefixtures("kept")
def test_a_step_that_was_not_kept_is_a_clear_error() -> None:
    found = replay("8")
    assert found.exit_code == 2
    assert "there are those of: 7" in found.output
