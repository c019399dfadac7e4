"""One question about one image: what `simpleseg predict` asks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from simpleseg_core.config import Config
from simpleseg_core.evaluation.engines import engine_settings
from simpleseg_core.geometry import Polygon, polygons_to_mask
from simpleseg_core.grammar import Style, parse_polygons, question
from simpleseg_core.rollout import Request, Sampling, transformers_engine
from simpleseg_core.viz import Picture, draw_overlay


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said, and what that means."""

    question: str
    answer: str
    polygons: list[Polygon]
    """Each (N, 2), normalised on pixel edges; empty without an error: nothing there, says the model."""
    error: str | None
    """Why the answer cannot be read."""
    overlay: Picture
    """uint8 (h, w, 3): the image, small ones enlarged, with the polygons drawn."""


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
        point: x, y, normalised.
        box: x1, y1, x2, y2, normalised.

    Raises:
        ValueError: not an image, or nothing is referred to.
    """
    try:
        picture = Image.open(image_path).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{image_path}: not an image that can be read ({error})") from error
    asked = _question(text, point, box, config.dataset.style, config.dataset.published_templates)
    engine = transformers_engine(str(model_dir), engine_settings(config))
    try:
        answer = engine.generate([Request(picture, asked)], Sampling(max_tokens=config.evaluate.max_tokens))[0][0].text
    finally:
        engine.close()
    parsed = parse_polygons(answer)
    mask = polygons_to_mask(parsed.polygons, picture.height, picture.width)
    overlay = draw_overlay(np.asarray(picture), prediction=mask, title=text)
    return Prediction(asked, answer, parsed.polygons, parsed.error, overlay)


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
