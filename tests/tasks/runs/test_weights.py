"""What folders with models of others hold is part of what results are made by."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from simpleseg_core.config import Config
from simpleseg_core.fingerprint import file_sum, weights
from tasks.graph import STAGES
from tasks.runs import weights as module
from tasks.runs.code import changed_code, remember_code
from tasks.runs.weights import weights_of
from tasks.runs.workspace import Workspace


def _model(folder: Path, text: str = "one") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(text)
    return folder


def _config(model: str) -> Config:
    return Config.model_validate(
        {
            "model": {"base": model},
            "detect": {"engine": "transformers", "model": model},
            "segment": {"engine": "sam", "model": model, "clip": model},
            "describe": {"engine": "vlm", "model": model},
            "evaluate": {"models": ["sft", {"name": "theirs", "kind": "folder", "where": model}]},
        }
    )


@pytest.mark.parametrize("stage", ["detect", "segment", "describe", "pretrain", "evaluate"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_changes_is_named(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, stage: str, inside: bool
) -> None:
    folder = _model((workspace.root if inside else tmp_path_factory.mktemp("others")) / "others" / "model")
    named = "others/model" if inside else str(folder)
    config = _config(named)
    remember_code(workspace, config, stage)
    assert changed_code(workspace, config, stage) == []
    _model(folder, "two")
    assert changed_code(workspace, config, stage) == [f"weights of {named}"]
    assert changed_code(workspace, config, "contour") == []
    remember_code(workspace, config, stage)
    (folder / "tokenizer.json").write_text("{}")
    assert changed_code(workspace, config, stage) == [f"weights of {named}"]


def test_a_file_is_read_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = _model(workspace.root / "a"), []
    monkeypatch.setattr(module, "file_sum", lambda file: read.append(file.name) or file_sum(file))
    first = weights_of(workspace, _config(str(folder)), "evaluate")
    assert weights_of(workspace, _config(str(folder)), "evaluate") == first
    assert read == ["model.safetensors"]


def test_records_of_before_accuse_nobody(workspace: Workspace) -> None:
    """They know of no weights."""
    remember_code(workspace, _config("not/there"), "evaluate")
    record = workspace.state / "code" / "evaluate.json"
    assert "weights of" not in record.read_text()
    _model(workspace.root / "not" / "there")
    assert changed_code(workspace, _config("not/there"), "evaluate") == []


def test_what_dvc_looks_at_is_left_to_it(repository: Path) -> None:
    """Going back to earlier weights costs nothing then: DVC's run cache knows them."""
    stages = YAML(typ="safe").load((repository / "dvc.yaml").read_text())["stages"]
    assert f"{module._SEEN_BY_DVC}/model.safetensors" in stages["pretrain"]["deps"]
    assert weights_of(Workspace(repository), Config(), "pretrain") == {}
    assert all(weights_of(Workspace(repository), Config(), stage) == {} for stage in STAGES)


def test_parts_that_are_finished_know_the_weights(tmp_path: Path) -> None:
    assert weights(str(_model(tmp_path / "a"))) == tmp_path / "a"
    assert weights("owner/name") == "owner/name"
    assert weights("owner/name", loaded=False) is None
