"""`simpleseg predict`, with the checkpoint and the sample scenes that are shipped."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli.app import app
from simpleseg_core.config import RefShapesConfig
from simpleseg_core.geometry import polygons_to_mask
from simpleseg_core.refshapes import scene
from tasks.runs.workspace import Workspace

SCENES = {"square": 900_008, "triangles": 900_016, "blue": 900_017}
"""The sample scenes, by their number in RefShapes val."""


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


@pytest.fixture
def samples(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the samples, seen from a folder that belongs to no working copy."""
    monkeypatch.chdir(tmp_path)
    return repository / "docs" / "samples"


@pytest.fixture
def nano_base(repository: Path) -> Path:
    return repository / "checkpoints" / "nano-base"


def test_the_samples_are_scenes_of_refshapes(samples: Path) -> None:
    assert {file.stem for file in samples.glob("*.png")} == set(SCENES)
    for name, index in SCENES.items():
        drawn = scene(RefShapesConfig(), 0, "val", index)
        np.testing.assert_array_equal(np.asarray(Image.open(samples / f"{name}.png")), drawn.image)


def test_the_shipped_model_outlines_a_sample_outside_a_working_copy(samples: Path, nano_base: Path) -> None:
    result = predict(samples / "blue.png", "all blue shapes", "--model", nano_base, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (query,) = (each for each in scene(RefShapesConfig(), 0, "val", SCENES["blue"]).queries if "all" in each.expression)
    mask = polygons_to_mask([np.array(polygon) for polygon in found["polygons"]], *query.mask.shape)
    assert (mask & query.mask).sum() / (mask | query.mask).sum() > 0.6
    assert (found["error"], found["model"], found["overlay"]) == (None, str(nano_base), "overlay.png")
    assert "of photographs it knows nothing" in " ".join(result.stderr.split())
    assert "Loading weights" not in result.stderr and "it/s]" not in result.stderr
    assert Image.open("overlay.png").width % 96 == 0


def test_the_first_command_of_the_readme_draws_a_picture(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there, right after the set-up: nothing is trained yet."""
    _, _, first = (repository / "README.md").read_text().partition("## First picture")
    [command] = [line.strip() for line in first.partition("\n## ")[0].splitlines() if line.startswith("    ")]
    set_up, asked = command.split(" && ")
    assert set_up == "make setup"
    program, verb, *arguments = shlex.split(asked)
    assert (program, verb) == (".venv/bin/simpleseg", "predict")
    monkeypatch.chdir(repository)
    result = predict(*arguments, "--out", tmp_path / "first.png")
    assert result.exit_code == 0, result.output
    assert "polygons  2" in result.output
    assert Image.open(tmp_path / "first.png").width > 96


def test_a_box_is_asked_about_and_drawn(samples: Path, nano_base: Path) -> None:
    result = predict(samples / "square.png", "--bbox", "0.1,0.1,0.9,0.9", "--model", nano_base, "--out", "a[b].jpg")
    assert result.exit_code == 0, result.output
    assert "100,100,900,900" in result.output and "a[b].jpg" in result.output
    assert Path("a[b].jpg").is_file()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("drawn", "not the name of a picture"),
        ("drawn.txt", "not the name of a picture"),
        ("nowhere/drawn.png", "its folder is not there"),
        ("folder.png", "a folder"),
    ],
)
def test_where_nothing_can_be_written_is_said_before_anything_is_loaded(
    samples: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "tasks.predict", None)  # torch and transformers come with it
    Path("folder.png").mkdir()
    Path("model").mkdir()
    Path("model/config.json").write_text("no checkpoint at all")
    result = predict(samples / "blue.png", "all blue shapes", "--model", "model", "--out", out)
    assert result.exit_code == 2
    assert f"--out {out}: {said}" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "config", ["[]", "{", '{"model_type": "bert"}', '{"text_config": 3, "model_type": "qwen2_5_vl"}', None]
)
def test_a_folder_that_holds_no_model_is_told_in_one_line(samples: Path, nano_base: Path, config: str | None) -> None:
    shutil.copytree(nano_base, "model")
    if config is None:
        Path("model/model.safetensors").write_bytes(b"half a download")
    else:
        Path("model/config.json").write_text(config)
    result = predict(samples / "blue.png", "all blue shapes", "--model", "model")
    assert result.exit_code == 2, result.output
    [told] = [line for line in result.output.splitlines() if "error:" in line]
    assert told.startswith("error: model: no model that can be loaded: ")


def test_outside_a_working_copy_a_folder_must_be_named(samples: Path) -> None:
    result = predict(samples / "blue.png", "all blue shapes")
    assert result.exit_code == 2
    assert "--model rl: no checkpoint of that name; outside a working copy name a folder" in " ".join(
        result.output.split()
    )


def test_a_model_under_test_is_asked_by_its_name(
    workspace: Workspace, samples: Path, nano_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = f"evaluate: {{models: [{{name: theirs, kind: folder, where: {nano_base}}}, sft]}}\n"
    workspace.params.write_text(listed)
    monkeypatch.chdir(workspace.root)
    result = predict(samples / "blue.png", "all blue shapes", "--model", "theirs", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["model"] == str(nano_base)
    missing = predict(samples / "blue.png", "all blue shapes", "--model", "sft")
    assert missing.exit_code == 2 and "nothing is trained here yet" in " ".join(missing.output.split())
