"""The command line: what it prints, what it refuses, and with which exit code."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli.app import app
from simpleseg_core import predict
from simpleseg_core.config.files import load_config
from tasks.workspace import Workspace


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def words(result: Result) -> str:
    """Everything printed, with the terminal's line breaks undone."""
    return " ".join(result.output.split())


@pytest.mark.parametrize("command", ["run", "refresh", "status", "predict", "ui", "doctor", "stage"])
def test_every_command_explains_itself_with_examples(command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--until", "train"), "no stage 'train': choose one of ingest, detect"),
        (("run", "--set", "contour.tolerence=1"), "did you mean `contour.tolerance`"),
        (("run", "--set", "data.source=coco"), "--set data.coco.root=FOLDER"),
        (("stage", "train"), "no stage 'train'"),
        (("profile", "use", "nanoo"), "did you mean `nano`"),
        (("config", "check", "--set", "sft.batch_size=7"), "multiple of micro_batch_size"),
        (("config", "show", "contour.nothing"), "no key `contour.nothing`"),
        (("predict", "none.jpg", "red circle"), "none.jpg: no such image file"),
        (("predict", "stage.py"), "say what to outline in one way"),
        (("predict", "stage.py", "red circle", "--point", "0.5,0.5"), "say what to outline in one way"),
        (("predict", "stage.py", "--point", "3,4"), "--point 3,4: expected 2 numbers in 0..1"),
        (("predict", "stage.py", "--bbox", "0.1,0.2,0.3"), "expected 4 numbers"),
        (("predict", "stage.py", "red circle"), "nothing is trained here yet: `simpleseg run`"),
        (("run", "--untill", "sft"), "No such option"),
        (("data", "check", "--dataset", "refcoco"), "name that FOLDER too"),
        (("data", "check", "--images", "."), "name that FOLDER too"),
    ],
)
def test_bad_input_is_refused_with_its_cure_and_exit_code_2(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    before = workspace.params.read_text()
    result = cli(*arguments)
    assert result.exit_code == 2
    assert said in words(result)
    assert workspace.params.read_text() == before


def test_outside_a_working_copy_the_first_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("status")
    assert result.exit_code == 2
    assert "go to a clone of the repository first" in words(result)


def test_status_says_what_would_run_and_why(workspace: Workspace) -> None:
    said = words(cli("status"))
    assert "ingest would run it has not run yet" in said


def test_a_profile_is_shown_and_written(workspace: Workspace) -> None:
    assert "sft.workers: 1 -> 8" in words(cli("profile", "show", "qwen2_5_vl_7b"))
    assert "* nano" in words(cli("profile", "list"))
    result = cli("profile", "use", "qwen2_5_vl_7b")
    assert result.exit_code == 0
    assert load_config(workspace.params).model.base == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert "differs" not in words(cli("config", "check"))


def test_a_profile_replaces_an_unusable_file(workspace: Workspace) -> None:
    workspace.params.write_text("seed: {")
    assert cli("config", "check").exit_code == 2
    assert cli("profile", "use", "nano").exit_code == 0
    assert cli("config", "check").exit_code == 0


def test_the_configuration_is_shown_whole_and_in_part(workspace: Workspace) -> None:
    assert words(cli("config", "show", "seed")) == "0"
    assert "lr:" in cli("config", "show", "sft.optimizer").output
    (workspace.root / "copy.yaml").write_text(cli("config", "show").output)
    assert load_config(workspace.root / "copy.yaml") == load_config(workspace.params)
    workspace.params.write_text(workspace.params.read_text().replace("photo_dir:", "photo_dir: photos[/b]"))
    assert "photos[/b]" in cli("config", "show", "data.refshapes").output
    assert "contour" in json.loads(cli("config", "schema").output)["properties"]


def test_a_prediction_is_drawn(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = workspace.root / "picture.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    folder = workspace.root / "models" / "rl"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    asked: list[tuple[object, ...]] = []

    def answer(*arguments: object) -> object:
        asked.append(arguments)
        return predict.Prediction(
            "?", "[[[1,2],[3,4],[5,0]]]", [np.zeros((3, 2))], None, np.full((8, 8, 3), 9, np.uint8)
        )

    monkeypatch.setattr(predict, "predict_image", answer)
    result = cli("predict", "picture.png", "--point", "0.5,0.25", "--out", "drawn.png")
    assert result.exit_code == 0, result.output
    assert asked[0][1:4] == ("", (0.5, 0.25), None)
    assert np.asarray(Image.open(workspace.root / "drawn.png")).max() == 9
    bracketed = cli("predict", "picture.png", "red circle", "--out", "drawn[v2].png")
    assert "drawn[v2].png" in bracketed.output
    nowhere = cli("predict", "picture.png", "red circle", "--out", "picture.png/drawn.png")
    assert (nowhere.exit_code, "picture.png/drawn.png: Not a directory" in words(nowhere)) == (2, True)
