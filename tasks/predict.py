"""One question about one image: what `simpleseg predict` asks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from simpleseg_core.config import Config
from simpleseg_core.data.pixels import read_rgb
from simpleseg_core.files import read_state
from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar import Style, parse_polygons, question
from simpleseg_core.plain import one_line
from simpleseg_core.rollout import Request, Rollout, Sampling, engine_settings, transformers_engine
from simpleseg_core.viz import RgbImage, draw_written

_LINE = 300
"""Characters of a library's error that are told."""
_FEW_WORDS = 10_000
"""A vocabulary of fewer tokens is one of ours: digits, and the words of RefShapes."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said, and what that means."""

    question: str
    answer: str
    polygons: list[Polygon]
    """Each (N, 2), normalised on pixel edges; empty without an error: nothing there, says the model."""
    error: str | None
    """Why the answer cannot be read."""
    overlay: RgbImage
    """uint8 (h, w, 3): the image, small ones enlarged, with what was written, vertex by vertex, and what was asked."""


def predict_image(
    image_path: Path,
    text: str,
    point: tuple[float, ...] | None,
    box: tuple[float, ...] | None,
    model_dir: Path,
    config: Config,
) -> Prediction:
    """Ask the model of a checkpoint folder for the outline of what a text, a point or a box refers to, greedily.

    Args:
        text: referring expression; where it is empty the point decides, else the box.
        point: x, y, normalised on the upright image.
        box: x1, y1, x2, y2, normalised on the upright image.

    Raises:
        ValueError: not an image, nothing is referred to, or the folder's model cannot be loaded.
    """
    picture = read_rgb(image_path)
    asked = _question(text, point, box, config.dataset.style, config.dataset.published_templates)
    engine = _loaded(model_dir, config)
    try:
        answer = engine.generate([Request(picture, asked)], Sampling(max_tokens=config.evaluate.max_tokens))[0][0].text
    finally:
        engine.close()
    parsed = parse_polygons(answer, style=config.dataset.style)
    overlay = draw_written(np.asarray(picture), parsed.polygons, point, box, title=text)
    return Prediction(asked, answer, parsed.polygons, parsed.error, overlay)


def _loaded(model_dir: Path, config: Config) -> Rollout:
    try:
        return transformers_engine(str(model_dir), engine_settings(config.evaluate, config.model))
    except (OSError, ValueError, SafetensorError, StrictDataclassError) as error:
        raise ValueError(f"{model_dir}: no model that can be loaded: {one_line(str(error), _LINE)}") from error


def knows_only_shapes(model_dir: Path) -> bool:
    """Whether a checkpoint was trained on the coloured shapes of RefShapes alone: its vocabulary says so."""
    config = read_state(model_dir / "config.json")
    text = config.get("text_config")
    size = (text if isinstance(text, dict) else config).get("vocab_size")
    return isinstance(size, int) and size < _FEW_WORDS


def _question(
    text: str, point: tuple[float, ...] | None, box: tuple[float, ...] | None, style: Style, published: bool
) -> str:
    if text:
        return question("text->mask", expression=text, style=style, published=published)
    if point is not None:
        return question("point->mask", point=point, style=style)
    if box is not None:
        return question("bbox->mask", box=box, style=style)
    raise ValueError("say what to outline: a text, a point or a box")
