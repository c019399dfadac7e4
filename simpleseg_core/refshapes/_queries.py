"""Which questions a RefShapes scene is asked: candidates of every kind, kept only where `resolve` is certain."""

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations, product

import numpy as np

from simpleseg_core.config.refshapes import ExpressionWeights
from simpleseg_core.refshapes._expressions import (
    KINDS,
    PLACES,
    RELATIONS,
    SUPERLATIVES,
    Expression,
    Kind,
    Phrase,
    resolve,
)
from simpleseg_core.refshapes._objects import Query, ShapeObject
from simpleseg_core.refshapes._outlines import COLORS, SHAPES

MAX_QUERIES = 6
Objects = Sequence[ShapeObject]


def draw_queries(objects: Objects, weights: ExpressionWeights, rng: np.random.Generator) -> tuple[Query, ...]:
    """Up to `MAX_QUERIES` distinct queries: kinds are drawn by weight, and passed over when the scene has no more."""
    share = np.array([getattr(weights, kind) for kind in KINDS]).cumsum()
    wanted = np.searchsorted(share, rng.random(MAX_QUERIES) * share[-1], side="right")
    counts = np.bincount(wanted, minlength=len(KINDS))
    queries = [
        query for kind, count in zip(KINDS, counts, strict=True) for query in _take(kind, int(count), objects, rng)
    ]
    if not queries:
        queries = next((found for kind in KINDS if (found := _take(kind, 1, objects, rng))), [])
    return tuple(queries[i] for i in rng.permutation(len(queries)))


def _take(kind: Kind, count: int, objects: Objects, rng: np.random.Generator) -> list[Query]:
    """Up to `count` random distinct queries of a kind."""
    found: list[Query] = []
    if count == 0:
        return found
    candidates = list(dict.fromkeys(_PROPOSE[kind](objects)))
    for i in rng.permutation(len(candidates)):
        targets = resolve(candidates[i], objects)
        if targets is not None and _suits(kind, targets):
            found.append(_query(kind, candidates[i], targets, objects))
            if len(found) == count:
                break
    return found


def _suits(kind: Kind, targets: tuple[int, ...]) -> bool:
    if kind == "none":
        return not targets
    return len(targets) >= 2 if kind == "multiple" else len(targets) == 1


def _query(kind: Kind, expression: Expression, targets: tuple[int, ...], objects: Objects) -> Query:
    mask = np.zeros_like(objects[0].mask)
    for i in targets:
        mask |= objects[i].mask
    return Query(expression.text(), kind, mask, targets, expression)


def _full(item: ShapeObject) -> Phrase:
    return Phrase(item.color, item.shape)


def _phrases(item: ShapeObject) -> tuple[Phrase, Phrase, Phrase]:
    return _full(item), Phrase(shape=item.shape), Phrase(color=item.color)


def _attribute(objects: Objects) -> Iterator[Expression]:
    return (Expression(phrase) for item in objects for phrase in _phrases(item))


def _size(objects: Objects) -> Iterator[Expression]:
    for item in objects:
        for phrase in (*_phrases(item), Phrase()):
            yield from (Expression(phrase, pick) for pick in SUPERLATIVES)
        if item.size is not None:
            yield Expression(Phrase(item.color, item.shape, item.size))
            yield Expression(Phrase(None, item.shape, item.size))


def _position(objects: Objects) -> Iterator[Expression]:
    for item in objects:
        for phrase, place in product((*_phrases(item), Phrase()), PLACES):
            yield Expression(phrase, place)


def _relation(objects: Objects) -> Iterator[Expression]:
    for target, anchor in permutations(objects, 2):
        for phrase, mark in product((*_phrases(target)[1:], Phrase()), _phrases(anchor)[:2]):
            yield Expression(phrase, relation=_direction(target, anchor), anchor=mark)


def _direction(target: ShapeObject, anchor: ShapeObject) -> str:
    dx, dy = (target.center[k] - anchor.center[k] for k in (0, 1))
    left, right, above, below = RELATIONS
    if abs(dx) >= abs(dy):
        return left if dx < 0 else right
    return above if dy < 0 else below


def _multiple(objects: Objects) -> Iterator[Expression]:
    return (Expression(phrase, "all") for item in objects for phrase in _phrases(item))


def _none(objects: Objects) -> Iterator[Expression]:
    """One attribute away from an object that is there: its colour on another shape, or its shape in another colour."""
    for item in objects:
        yield from (Expression(Phrase(item.color, shape)) for shape in SHAPES if shape != item.shape)
        yield from (Expression(Phrase(color, item.shape)) for color in COLORS if color != item.color)


_PROPOSE: dict[Kind, Callable[[Objects], Iterator[Expression]]] = {
    "attribute": _attribute,
    "size": _size,
    "position": _position,
    "relation": _relation,
    "multiple": _multiple,
    "none": _none,
}
