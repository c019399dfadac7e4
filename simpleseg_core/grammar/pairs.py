"""Weak-label recombination: from one annotated instance, every question and answer that it supports."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar._types import PAIRS, Style
from simpleseg_core.grammar.format import format_box, format_points, format_polygons
from simpleseg_core.grammar.templates import answer, question


@dataclass(frozen=True, slots=True)
class Instance:
    """What is known of one object; anything may be missing. Coordinates are normalised."""

    expression: str | None = None
    point: NDArray[np.float64] | None = None
    box: NDArray[np.float64] | None = None
    polygons: list[Polygon] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One question and its answer; `weight` is the relative frequency of its task."""

    task: str
    question: str
    answer: str
    weight: float


def instance_pairs(
    instance: Instance,
    weights: Mapping[str, float],
    rng: np.random.Generator,
    *,
    style: Style = "permille",
    variety: int = 1,
    published: bool = False,
) -> list[Pair]:
    """Every directed pair of [text, point, bbox, mask] that the instance supports and whose weight is positive."""
    known = _known(instance, style)
    pairs = []
    for task in PAIRS:
        given, _, asked = task.partition("->")
        weight = weights.get(task, 0.0)
        if weight <= 0 or given not in known or asked not in known:
            continue
        asking = question(
            task,
            expression=instance.expression,
            point=instance.point,
            box=instance.box,
            polygons=instance.polygons,
            style=style,
            variety=variety,
            published=published,
            rng=rng,
        )
        pairs.append(Pair(task, asking, answer(known[asked], published=published, rng=rng), weight))
    return pairs


def sample_pairs(pairs: list[Pair], count: int, rng: np.random.Generator) -> list[Pair]:
    """Draw at most `count` different pairs by their weights."""
    if not pairs:
        return []
    weights = np.array([pair.weight for pair in pairs])
    chosen = rng.choice(len(pairs), size=min(count, len(pairs)), replace=False, p=weights / weights.sum())
    return [pairs[i] for i in chosen]


def _known(instance: Instance, style: Style) -> dict[str, str]:
    known: dict[str, str] = {}
    if instance.expression is not None:
        known["text"] = instance.expression
    if instance.point is not None:
        known["point"] = format_points(instance.point, style=style)
    if instance.box is not None:
        known["bbox"] = format_box(instance.box, style=style)
    if instance.polygons is not None:
        known["mask"] = format_polygons(instance.polygons, style=style)
    return known
