"""`simpleseg annotate`: exit codes, and what it says of images that it could not use."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from flows.cli.app import app
from simpleseg_core.config import RefShapesConfig
from simpleseg_core.refshapes import phrase, scene
from tasks.runs.workspace import Workspace


def annotate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["annotate", *arguments])


@pytest.fixture
def photo(workspace: Workspace) -> tuple[Path, str]:
    """An image of the working copy's own folder, and the name of what is on it."""
    drawn = scene(RefShapesConfig(), 2, "train", 0)
    Image.fromarray(drawn.image).save(workspace.root / "scene.jpg", quality=95)
    return workspace.root / "scene.jpg", phrase(drawn.objects[0])


def test_one_image_is_annotated_and_drawn(photo: tuple[Path, str]) -> None:
    result = annotate("scene.jpg", "--phrases", photo[1])
    assert result.exit_code == 0, result.output
    assert "1 instances in 1 images" in result.output
    assert Path("annotated/coco/instances.json").is_file()
    assert Image.open("annotated/overlays/scene.jpg").size == (480, 480)


def test_a_broken_image_shows_in_the_exit_code_not_in_the_others(photo: tuple[Path, str]) -> None:
    Path("broken.jpg").write_text("nothing")
    result = annotate("scene.jpg", "broken.jpg", "--phrases", photo[1], "--out", "out")
    assert result.exit_code == 1
    assert "1 instances in 1 images" in result.output
    assert "broken.jpg: not an image" in " ".join(result.output.split())


def test_that_nothing_is_found_shows_in_the_exit_code_on_request(photo: tuple[Path, str]) -> None:
    Image.new("RGB", (64, 64), "white").save("blank.png")
    for arguments, code in ((("blank.png",), 0), (("blank.png", "--must-find"), 3), (("scene.jpg", "--must-find"), 0)):
        result = annotate(*arguments, "--phrases", photo[1], "--out", f"out{len(arguments)}{arguments[0]}")
        assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.jpg", "--phrases", "red circle"), "none.jpg: no such file or folder"),
        (("scene.jpg",), "give --phrases"),
        (("scene.jpg", "--phrases", "dog"), "--set detect.engine=transformers"),
        (("scene.jpg", "--set", "detect.engin=transformers"), "did you mean `detect.engine`"),
        ((".", "--phrases", "red circle", "--out", "."), "name another folder"),
    ],
)
def test_bad_input_is_refused_with_its_cure(photo: tuple[Path, str], arguments: tuple[str, ...], said: str) -> None:
    result = annotate(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert not Path("annotated").exists()


def test_it_explains_itself_with_examples() -> None:
    for command in ("annotate", "export"):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0
        assert "Examples:" in result.output
