"""What can be asked about one image, and the question-and-answer turns that teach it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from simpleseg_core.config import ContourConfig, DatasetConfig, Task
from simpleseg_core.data.refshapes import COLORS, SHAPES, Phrase, Scene
from simpleseg_core.geometry import Mask, Polygon, interior_point, mask_box, mask_to_polygons, order_polygons
from simpleseg_core.grammar import answer, format_box, format_points, format_polygons, question

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


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One object: its mask, bool (H, W), and what the answers say of it, normalised."""

    phrase: str
    mask: Mask
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    polygons: Sequence[Polygon] | None = None
    """None: traced from the mask when an answer needs them."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A referring expression and the objects it means, as indices into the view's targets; none is a valid answer."""

    expression: str
    targets: tuple[int, ...]
    kind: str = "attribute"
    """What tells the objects apart: attribute, size, position, relation; multiple or none of them."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Everything that can be asked about one image."""

    targets: Sequence[Target]
    references: Sequence[Reference]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Plural noun phrase -> how many there are."""


def token_count(text: str) -> int:
    """Estimated tokens of a text: one for each digit, word and run of punctuation, as in Qwen's tokenizer."""
    return len(_TOKEN.findall(text))


def outline(mask: Mask, contour: ContourConfig, rng: np.random.Generator | None = None) -> list[Polygon]:
    """Polygons of a mask as the contour settings want them; `rng` is needed for the order `shuffled` only."""
    return mask_to_polygons(
        mask,
        tolerance=contour.tolerance,
        max_points=contour.max_points,
        holes=contour.holes,
        order=contour.order,
        rng=rng,
    )


def mask_target(phrase: str, mask: Mask) -> Target:
    """A target from its exact mask.

    Raises:
        ValueError: the mask is empty.
    """
    x, y = interior_point(mask).tolist()
    left, top, right, bottom = [0.0] * 4 if (box := mask_box(mask)) is None else box.tolist()
    return Target(phrase, mask, (left, top, right, bottom), (x, y))


def scene_view(scene: Scene, rng: np.random.Generator) -> View:
    """What can be asked about a RefShapes scene: its queries, its objects, and counts of what it has and has not."""
    targets = [Target(f"{item.color} {item.shape}", item.mask, item.box, item.point) for item in scene.objects]
    references = [Reference(query.expression, query.targets, query.kind) for query in scene.queries]
    return View(targets, references, _scene_counts(scene, rng))


def scene_turns(
    scene: Scene,
    tasks: Mapping[Task, float],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator,
    max_turns: int,
) -> list[Turn]:
    """Up to `max_turns` different turns about a RefShapes scene, tasks drawn by weight."""
    return draw_turns(scene_view(scene, rng), tasks, dataset, contour, rng, max_turns)


def draw_turns(
    view: View,
    tasks: Mapping[Task, float],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator,
    max_turns: int,
    count: Count = token_count,
) -> list[Turn]:
    """Up to `max_turns` turns with different questions; a task that the image cannot serve is never drawn."""
    writer = _Writer(view, dataset, contour, rng, count)
    drawn: dict[str, Turn] = {}
    served = _served(view, tasks)
    for _ in range(_TRIES * max_turns):
        if not served or len(drawn) == max_turns:
            break
        turn = writer.turn(_draw_task(served, rng))
        drawn.setdefault(turn.question, turn)
    return list(drawn.values())


def visit_references(
    view: View,
    tasks: Mapping[Task, float],
    dataset: DatasetConfig,
    contour: ContourConfig,
    rng: np.random.Generator,
    count: Count = token_count,
) -> Iterator[list[Turn]]:
    """Conversations of up to `dataset.max_turns` turns that visit every expression of the view once, in random order.

    The task of each turn is drawn by weight; one that is not given a text (`point->mask`) asks about a random object.
    """
    writer = _Writer(view, dataset, contour, rng, count)
    served = _served(view, tasks)
    if not served:
        return
    order = rng.permutation(len(view.references))
    turns = [writer.turn(_draw_task(served, rng), view.references[i]) for i in order]
    for start in range(0, len(turns), dataset.max_turns):
        yield turns[start : start + dataset.max_turns]


def _scene_counts(scene: Scene, rng: np.random.Generator) -> dict[str, int]:
    """Counts of phrases of the scene, and of one random phrase, which the scene mostly lacks."""
    there = [
        Phrase(),
        *(Phrase(item.color) for item in scene.objects),
        *(Phrase(None, item.shape) for item in scene.objects),
    ]
    color, shape = COLORS[int(rng.integers(len(COLORS)))], SHAPES[int(rng.integers(len(SHAPES)))]
    other = Phrase(color) if rng.random() < 0.5 else Phrase(None, shape)
    return {phrase.text(plural=True): sum(phrase.admits(item) for item in scene.objects) for phrase in (*there, other)}


def _served(view: View, tasks: Mapping[Task, float]) -> dict[Task, float]:
    """The tasks, with their weights, that the image can serve."""
    has = {"text": bool(view.references), "count": bool(view.counts)}
    return {
        task: weight
        for task, weight in tasks.items()
        if weight > 0 and has.get(task.split("->")[0], bool(view.targets))
    }


def _draw_task(tasks: Mapping[Task, float], rng: np.random.Generator) -> Task:
    names, weights = list(tasks), np.array(list(tasks.values()))
    return names[int(np.searchsorted(weights.cumsum(), rng.random() * weights.sum(), side="right"))]


class _Writer:
    """Writes turns about one view."""

    def __init__(
        self, view: View, dataset: DatasetConfig, contour: ContourConfig, rng: np.random.Generator, count: Count
    ) -> None:
        self._view, self._dataset, self._contour, self._rng, self._count = view, dataset, contour, rng, count

    def turn(self, task: Task, reference: Reference | None = None) -> Turn:
        """A turn of a task about the given expression, or about a random one or a random object where it needs one."""
        given, _, asked = task.partition("->")
        if task == "caption":
            return Turn(task, self._ask(task), _caption(self._view.targets))
        if task == "count":
            text = self._pick(list(self._view.counts))
            return Turn(task, self._ask(task, expression=text), str(self._view.counts[text]))
        if task == "locate":
            return Turn(task, self._ask(task), self._locate(self._view.targets))
        if given == "text":
            return self._about(task, asked, reference or self._pick(self._view.references))
        target = self._pick(self._view.targets)
        return Turn(task, self._ask(task, **self._show(given, target)), self._say(asked, [target]))

    def _about(self, task: Task, asked: str, reference: Reference) -> Turn:
        targets = [self._view.targets[i] for i in reference.targets]
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
