"""One question about one image, with a model that knows nothing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.config import Config, DatasetConfig, EvaluateConfig
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.rollout import Completion
from simpleseg_core.rollout._transformers import TransformersEngine
from simpleseg_core.viz import TRUTH_COLOUR
from tasks.predict import predict_image
from tests.tiny import TINY

CONFIG = Config(model=TINY, evaluate=EvaluateConfig(max_tokens=16))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(file)
    return file


def test_an_answer_comes_with_its_meaning_and_a_picture(image: Path, tiny_checkpoint: Path) -> None:
    found = predict_image(image, "red circle", None, None, tiny_checkpoint, CONFIG)
    assert "red circle" in found.question
    parsed = parse_polygons(found.answer)
    assert (len(found.polygons), found.error) == (len(parsed.polygons), parsed.error)
    height, width = found.overlay.shape[:2]
    assert width % 64 == 0
    assert height > 48 * width // 64, "a title above"


def test_a_sideways_photograph_is_asked_about_upright(tmp_path: Path, tiny_checkpoint: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.new("RGB", (64, 48)).save(tmp_path / "sideways.jpg", exif=exif)
    found = predict_image(tmp_path / "sideways.jpg", "", (0.5, 0.5), None, tiny_checkpoint, CONFIG)
    height, width = found.overlay.shape[:2]
    assert (width % 48, height) == (0, 64 * width // 48)


def test_an_answer_is_read_in_the_style_that_was_asked_for(
    image: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [[Completion("[[[0,0],[1,0],[1,1]]]", (1,), True, None)]]
    monkeypatch.setattr(TransformersEngine, "generate", lambda *_: said)
    for style, most in (("unit", 1.0), ("permille", 0.001)):
        config = CONFIG.model_copy(update={"dataset": DatasetConfig(style=style)})
        found = predict_image(image, "red circle", None, None, tiny_checkpoint, config)
        assert found.polygons[0].max() == most


@pytest.mark.parametrize(
    ("point", "box", "said"), [((0.25, 0.5), None, "250,500"), (None, (0.1, 0.2, 0.3, 0.4), "100,200,300,400")]
)
def test_a_place_can_be_asked_for_and_is_drawn(
    image: Path,
    tiny_checkpoint: Path,
    point: tuple[float, ...] | None,
    box: tuple[float, ...] | None,
    said: str,
) -> None:
    Image.new("RGB", (64, 48)).save(image)
    found = predict_image(image, "", point, box, tiny_checkpoint, CONFIG)
    assert said in found.question
    assert (np.abs(found.overlay.astype(int) - TRUTH_COLOUR).max(-1) < 64).any()


def test_a_file_that_is_no_image_is_named(tmp_path: Path, tiny_checkpoint: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("not a picture")
    with pytest.raises(ValueError, match=r"notes\.png: not a readable image"):
        predict_image(file, "red circle", None, None, tiny_checkpoint, CONFIG)


def test_nothing_referred_to_is_an_error(image: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="a text, a point or a box"):
        predict_image(image, "", None, None, tiny_checkpoint, CONFIG)
