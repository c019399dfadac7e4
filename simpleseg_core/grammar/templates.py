"""Questions and answers: our own short templates, and the published ones for the released weights."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar._types import Style, answer_element
from simpleseg_core.grammar.format import format_box, format_points, format_polygons

QUESTIONS: dict[str, tuple[str, ...]] = {
    "text->mask": ("outline of {text}", "polygon of {text}", "draw {text}", "where is {text}? polygon"),
    "text->bbox": ("box of {text}", "frame {text}", "where is {text}? box"),
    "text->point": ("point at {text}", "touch {text}", "where is {text}? point"),
    "point->mask": ("outline at {point}", "polygon at {point}"),
    "point->bbox": ("box at {point}", "frame what is at {point}"),
    "point->text": ("what is at {point}", "describe {point}"),
    "bbox->mask": ("outline in {bbox}", "polygon in {bbox}"),
    "bbox->point": ("point in {bbox}", "touch what is in {bbox}"),
    "bbox->text": ("what is in {bbox}", "describe {bbox}"),
    "mask->text": ("what is inside {mask}", "describe {mask}"),
    "mask->point": ("point in outline {mask}", "touch what is inside {mask}"),
    "mask->bbox": ("box of outline {mask}", "frame what is inside {mask}"),
    "caption": ("what is here", "describe the image"),
    "count": ("how many {text}", "count {text}"),
    "locate": ("what is where", "describe and point"),
}
"""Our own templates, the plainest of each task first."""

PUBLISHED_QUESTIONS: tuple[str, ...] = (
    "{text}'s polygon",
    "What is the polygon of {text} in the image?",
    "Output the polygon coordinates of {text} in the image.",
    "Tell me the polygon coordinates of {text} in the image.",
    "Give me the polygon coordinates of {text} in the image.",
    "Help me locate the polygon of {text}.",
    "Locate the polygon of {text}.",
)
"""SimpleSeg (arXiv 2601.19228), data preparation."""

PUBLISHED_ANSWERS: tuple[str, ...] = (
    "{answer}.",
    "{answer}.",
    "Sure, you can find it at {answer}.",
    "It is found at {answer}.",
    "It is at {answer}.",
)


def question(
    task: str,
    *,
    expression: str | None = None,
    point: ArrayLike | None = None,
    box: ArrayLike | None = None,
    polygons: Sequence[Polygon] | None = None,
    style: Style = "permille",
    variety: int = 1,
    published: bool = False,
    rng: np.random.Generator | None = None,
) -> str:
    """Ask a task about what is given (normalised coordinates).

    Args:
        variety: draw among the first so many templates of the task; 1 always takes the first.
        published: use the published templates where the task has them (`text->mask`).
        rng: needed where there is more than one template to draw from.

    Raises:
        ValueError: no such task, or the task needs something that was not given.
    """
    answer_element(task)
    templates = PUBLISHED_QUESTIONS if published and task == "text->mask" else QUESTIONS[task][: max(1, variety)]
    given = {
        "text": expression,
        "point": None if point is None else format_points(point, style=style),
        "bbox": None if box is None else format_box(box, style=style),
        "mask": None if polygons is None else format_polygons(polygons, style=style),
    }
    template = _draw(templates, rng)
    missing = [name for name, value in given.items() if value is None and f"{{{name}}}" in template]
    if missing:
        raise ValueError(f"the task {task} needs a {missing[0]}: pass expression, point, box or polygons accordingly")
    return template.format(**given)


def answer(target: str, *, published: bool = False, rng: np.random.Generator | None = None) -> str:
    """The whole answer around a formatted target: the target itself, or one of the published wordings."""
    return _draw(PUBLISHED_ANSWERS, rng).format(answer=target) if published else target


def _draw(templates: tuple[str, ...], rng: np.random.Generator | None) -> str:
    if len(templates) == 1:
        return templates[0]
    if rng is None:
        raise ValueError("several templates to draw from: pass rng=np.random.default_rng(seed), or variety=1")
    return templates[int(rng.integers(len(templates)))]
