"""The question-and-answer turns that teach what an image shows."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from simpleseg_core.config import ContourConfig, DatasetConfig, Task
from simpleseg_core.geometry import Mask, Polygon, order_polygons
from simpleseg_core.grammar import answer, format_box, format_points, format_polygons, question
from simpleseg_core.instructions.labels import Labels, Reference, Target, outline

_TOKEN = re.compile(r"\d|[^\W\d_]+|[^\w\s]+")
_TRIES = 4
"""Draws for each wanted turn before a repeated question is given up."""
_COARSER = 0.8
_FEWEST = 4
"""Vertices that a target keeps however long its answer."""

T = TypeVar("T")
Count = Callable[[str], int]
"""Tokens of a text."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question about an image and its answer."""

    task: Task
    question: str
    answer: str


def token_count(text: str) -> int:
    """Estimated tokens of a text: one for each digit, word and run of punctuation, as large models do."""
    return len(_TOKEN.findall(text))


def draw_turns(
    labels: Labels,
    tasks: Mapping[Task, float],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator,
    max_turns: int,
    count: Count = token_count,
) -> list[Turn]:
    """Up to `max_turns` turns with different questions; a task that the image cannot serve is never drawn."""
    writer = _Writer(labels, dataset, contour, rng, count)
    drawn: dict[str, Turn] = {}
    served = _served(labels, tasks)
    for _ in range(_TRIES * max_turns):
        if not served or len(drawn) == max_turns:
            break
        turn = writer.turn(_draw_task(served, rng))
        drawn.setdefault(turn.question, turn)
    return list(drawn.values())


def visit_references(
    labels: Labels,
    tasks: Mapping[Task, float],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator,
    count: Count = token_count,
) -> Iterator[list[Turn]]:
    """Conversations of up to `dataset.max_turns` turns that visit every expression of the image once, in random order.

    The task of each turn is drawn by weight; one that is not given a text (`point->mask`) asks about a random object.
    """
    writer = _Writer(labels, dataset, contour, rng, count)
    served = _served(labels, tasks)
    if not served:
        return
    order = rng.permutation(len(labels.references))
    turns = [writer.turn(_draw_task(served, rng), labels.references[i]) for i in order]
    for start in range(0, len(turns), dataset.max_turns):
        yield turns[start : start + dataset.max_turns]


def _served(labels: Labels, tasks: Mapping[Task, float]) -> dict[Task, float]:
    """The tasks, with their weights, that the image can serve."""
    has = {"text": bool(labels.references), "count": bool(labels.counts)}
    return {
        task: weight
        for task, weight in tasks.items()
        if weight > 0 and has.get(task.split("->")[0], bool(labels.targets))
    }


def _draw_task(tasks: Mapping[Task, float], rng: np.random.Generator) -> Task:
    names, weights = list(tasks), np.array(list(tasks.values()))
    return names[int(np.searchsorted(weights.cumsum(), rng.random() * weights.sum(), side="right"))]


class _Writer:
    """Writes turns about one image."""

    def __init__(
        self, labels: Labels, dataset: DatasetConfig, contour: ContourConfig, rng: np.random.Generator, count: Count
    ) -> None:
        self._labels, self._dataset, self._contour, self._rng, self._count = labels, dataset, contour, rng, count

    def turn(self, task: Task, reference: Reference | None = None) -> Turn:
        """A turn of a task about the given expression, or about a random one or a random object where it needs one."""
        given, _, asked = task.partition("->")
        if task == "caption":
            return Turn(task, self._ask(task), _caption(self._labels.targets))
        if task == "count":
            text = self._pick(list(self._labels.counts))
            return Turn(task, self._ask(task, expression=text), str(self._labels.counts[text]))
        if task == "locate":
            return Turn(task, self._ask(task), self._locate(self._labels.targets))
        if given == "text":
            return self._about(task, asked, reference or self._pick(self._labels.references))
        target = self._pick(self._labels.targets)
        return Turn(task, self._ask(task, **self._show(given, target)), self._say(asked, [target]))

    def _about(self, task: Task, asked: str, reference: Reference) -> Turn:
        targets = [self._labels.targets[i] for i in reference.targets]
        said = self._say(asked, targets)
        published = self._dataset.published_templates and task == "text->mask"
        return Turn(
            task,
            self._ask(task, expression=reference.expression),
            answer(said, published=published, rng=self._rng),
        )

    def _pick(self, items: Sequence[T]) -> T:
        return items[int(self._rng.integers(len(items)))]

    def _ask(self, task: Task, **given: Any) -> str:
        dataset = self._dataset
        return question(
            task,
            **given,
            style=dataset.style,
            variety=dataset.template_variety,
            published=dataset.published_templates,
            rng=self._rng,
        )

    def _show(self, given: str, target: Target) -> dict[str, Any]:
        """What the question says of its object; a point is any of its pixels."""
        match given:
            case "point":
                return {"point": _random_point(target.mask, self._rng)}
            case "bbox":
                return {"box": target.box}
            case _:
                return {"polygons": _polygons(target, self._contour, self._rng)}

    def _say(self, asked: str, targets: Sequence[Target]) -> str:
        """The answer that gives one element of the targets; objects are ordered like polygons, from the origin."""
        style = self._dataset.style
        match asked:
            case "text":
                return _caption(targets)
            case "point":
                points = sorted((target.point for target in targets), key=_from_origin)
                return format_points(points, style=style)
            case "bbox":
                boxes = sorted((target.box for target in targets), key=_from_origin)
                return format_box(boxes, style=style)
            case _:
                return polygon_answer(targets, self._dataset, self._contour, self._rng, self._count)

    def _locate(self, targets: Sequence[Target]) -> str:
        """What is there before where it is, from left to right: "red circle [312,540], blue star [700,120]"."""
        style = self._dataset.style
        return ", ".join(f"{item.phrase} {format_points(item.point, style=style)}" for item in _left_to_right(targets))


def polygon_answer(
    targets: Sequence[Target],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator | None = None,
    count: Count = token_count,
) -> str:
    """The polygons of all targets as one answer, coarser where it would exceed `dataset.max_answer_tokens`.

    Args:
        count: tokens of a text; the real tokenizer's where it is at hand.
    """
    polygons = _ordered([_polygons(target, contour, rng) for target in targets], contour, rng)
    text = format_polygons(polygons, style=dataset.style)
    points = sum(len(polygon) for polygon in polygons)
    while count(text) > dataset.max_answer_tokens and points > _FEWEST * len(targets):
        points = int(points * _COARSER)
        limited = contour.model_copy(update={"max_points": max(_FEWEST, points // len(targets))})
        polygons = _ordered([outline(target.mask, limited, rng) for target in targets], contour, rng)
        text = format_polygons(polygons, style=dataset.style)
    return text


def _polygons(target: Target, contour: ContourConfig, rng: np.random.Generator | None) -> list[Polygon]:
    return outline(target.mask, contour, rng) if target.polygons is None else list(target.polygons)


def _ordered(parts: Sequence[list[Polygon]], contour: ContourConfig, rng: np.random.Generator | None) -> list[Polygon]:
    """Polygons of several targets in one order; those of one target are in order already."""
    polygons = [polygon for part in parts for polygon in part]
    return polygons if len(parts) < 2 else order_polygons(polygons, contour.order, rng)


def _caption(targets: Sequence[Target]) -> str:
    """ "red circle, blue star": from left to right."""
    return ", ".join(target.phrase for target in _left_to_right(targets))


def _left_to_right(targets: Sequence[Target]) -> list[Target]:
    return sorted(targets, key=lambda target: target.box[0] + target.box[2])


def _from_origin(corner: Sequence[float]) -> tuple[float, float]:
    """Order of points, and of boxes by their first corner: nearest the origin first."""
    x, y = corner[:2]
    return x * x + y * y, y


def _random_point(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """Centre of a random pixel of the mask, normalised."""
    height, width = mask.shape
    inside = np.flatnonzero(mask)
    row, column = divmod(int(inside[rng.integers(len(inside))]), width)
    return (column + 0.5) / width, (row + 0.5) / height
