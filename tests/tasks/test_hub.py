"""Models of the hub that cannot be had: told at once, in one line, with the cure, by every command that takes one."""

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from simpleseg_core.config import Config
from simpleseg_core.config.files import load_profile
from tasks.graph import STAGES
from tasks.hub import hub_models, is_hub_id
from tasks.runs.doctor import checks
from tasks.runs.workspace import Workspace

NOBODYS = "nobody-here/no-model"


@pytest.fixture
def asking(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A working copy, as the current folder, whose base model is one of the hub; the hub may not be asked."""
    monkeypatch.chdir(workspace.root)
    text = workspace.params.read_text()
    workspace.params.write_text(text.replace("base: checkpoints/nano-base", f"base: {NOBODYS}"))
    return workspace


def test_a_stage_does_not_start(asking: Workspace) -> None:
    result = CliRunner().invoke(app, ["stage", "pretrain"])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert f"model.base is {NOBODYS}, which is not on this machine, and HF_HUB_OFFLINE is set" in said
    assert f"`hf download {NOBODYS}`, or set model.base to a folder" in said
    assert not asking.tracking("pretrain").exists()


def test_the_doctor_names_it(asking: Workspace) -> None:
    [found] = [check for check in checks(asking.root, ports={}) if check.name == "model.base"]
    assert not found.ok
    assert "not on this machine" in found.detail and "hf download" in found.detail


def test_a_prediction_says_how_to_fetch_it(asking: Workspace) -> None:
    result = CliRunner().invoke(app, ["predict", "stage.py", "star", "--model", NOBODYS])
    assert result.exit_code == 2
    assert f"`hf download {NOBODYS} --local-dir FOLDER`" in " ".join(result.output.split())


def test_only_models_that_the_stages_load_are_asked_for() -> None:
    config = Config.model_validate({"detect": {"engine": "transformers"}, "segment": {"clip": "openai/clip"}})
    assert hub_models(config, ["detect", "segment", "contour"]) == {
        "detect.model": "IDEA-Research/grounding-dino-base",
        "segment.clip": "openai/clip",
    }
    assert hub_models(config, ["contour", "describe"]) == {}
    models = ["sft", {"name": "theirs", "kind": "hub", "where": NOBODYS}]
    tested = Config.model_validate({"evaluate": {"models": models}})
    assert hub_models(tested, ["evaluate"]) == {"evaluate.models.1.where": NOBODYS}


@pytest.mark.parametrize("name", ["./a/b", "/a", "~/a", "a/b/c", "scratch", "checkpoints/nano-base"])
def test_folders_are_no_hub_ids(name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(request.config.rootpath)
    assert not is_hub_id(name)


def test_the_models_of_a_shipped_profile_are_found() -> None:
    assert hub_models(load_profile("qwen2_5_vl_7b"), STAGES)["model.base"] == "Qwen/Qwen2.5-VL-7B-Instruct"
