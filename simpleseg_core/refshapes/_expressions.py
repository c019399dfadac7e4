"""Referring expressions of RefShapes: their structure, their words, and which objects they mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from simpleseg_core.refshapes._outlines import COLORS, SHAPES

Kind = Literal["attribute", "size", "position", "relation", "multiple", "none"]
KINDS: tuple[Kind, ...] = ("attribute", "size", "position", "relation", "multiple", "none")
SUPERLATIVES = ("biggest", "smallest")
PLACES = ("leftmost", "rightmost", "top", "bottom")
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = ("two", "three", "four", "five", "six")

_PLURALS = {
    shape: shape if shape == "dots" else shape + ("es" if shape == "cross" else "s") for shape in (*SHAPES, "shape")
}
_CLEAR = 0.1
"""Gap between two centres, over the image side, that makes an order plain to the eye."""
_RATIO = 1.25
"""Ratio of two radii, and of two side lengths of equal area, that makes a size order plain."""

_GLUE = ("at", "the", "left", "right", "of", "above", "below", "all", "a", "an", "and")

VOCABULARY: tuple[str, ...] = tuple(
    dict.fromkeys(
        (*COLORS, *SHAPES, "shape", *_PLURALS.values(), "small", "big", *SUPERLATIVES, *PLACES, *_GLUE, *NUMBERS)
    )
)
"""Every word that an expression or a description can contain; descriptions also use the comma."""


class Located(Protocol):
    """What an expression can speak about; see `ShapeObject`."""

    @property
    def color(self) -> str: ...
    @property
    def shape(self) -> str: ...
    @property
    def size(self) -> str | None: ...
    @property
    def center(self) -> tuple[float, float]: ...
    @property
    def box(self) -> tuple[float, float, float, float]: ...
    @property
    def radius(self) -> float: ...
    @property
    def area(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase; an attribute left out matches anything."""

    color: str | None = None
    shape: str | None = None
    size: str | None = None

    def text(self, plural: bool = False) -> str:
        """ "small red circle"; "shape" stands for any shape."""
        noun = self.shape or "shape"
        words = (self.size, self.color, _PLURALS[noun] if plural else noun)
        return " ".join(word for word in words if word)

    def admits(self, item: Located) -> bool:
        """Whether colour and shape agree; the size is left to `resolve`, which knows when it is unclear."""
        return self.color in (None, item.color) and self.shape in (None, item.shape)


@dataclass(frozen=True, slots=True)
class Expression:
    """A noun phrase, and at most one of: a pick among what it matches, or a relation to an anchor."""

    phrase: Phrase
    pick: str | None = None
    """One of `SUPERLATIVES`, one of `PLACES`, or "all"."""
    relation: str | None = None
    anchor: Phrase | None = None

    def text(self) -> str:
        """The expression in words."""
        if self.pick == "all":
            return f"all {self.phrase.text(plural=True)}"
        if self.pick in ("top", "bottom"):
            return f"{self.phrase.text()} at the {self.pick}"
        if self.pick is not None:
            return f"{self.pick} {self.phrase.text()}"
        if self.relation is not None and self.anchor is not None:
            return f"{self.phrase.text()} {self.relation} the {self.anchor.text()}"
        return self.phrase.text()


def resolve(expression: Expression, objects: Sequence[Located]) -> tuple[int, ...] | None:
    """Indices of the objects an expression means, or None where a person could hesitate.

    Hesitation: sizes or places too close to call, a superlative among fewer than two, an anchor that is not one object.
    """
    matched = _match(expression.phrase, objects)
    if matched is None:
        return None
    if expression.pick in SUPERLATIVES:
        return _superlative(expression.pick, matched, objects)
    if expression.pick in PLACES:
        return _place(expression.pick, matched, objects)
    if expression.relation is not None and expression.anchor is not None:
        return _related(expression.relation, expression.anchor, matched, objects)
    return matched


def _match(phrase: Phrase, objects: Sequence[Located]) -> tuple[int, ...] | None:
    admitted = [i for i, item in enumerate(objects) if phrase.admits(item)]
    if phrase.size is None:
        return tuple(admitted)
    if any(objects[i].size is None for i in admitted):
        return None
    return tuple(i for i in admitted if objects[i].size == phrase.size)


def _extents(item: Located) -> tuple[float, float]:
    """Two measures of size that must agree: the radius and the side length of the visible area."""
    return item.radius, float(item.area**0.5)


def _superlative(pick: str, matched: tuple[int, ...], objects: Sequence[Located]) -> tuple[int, ...] | None:
    if len(matched) < 2:
        return None
    order = sorted(matched, key=lambda i: objects[i].radius, reverse=pick == "biggest")
    best = _extents(objects[order[0]])
    for other in order[1:]:
        for ours, theirs in zip(best, _extents(objects[other]), strict=True):
            if (ours / theirs if pick == "biggest" else theirs / ours) < _RATIO:
                return None
    return (order[0],)


def _place(pick: str, matched: tuple[int, ...], objects: Sequence[Located]) -> tuple[int, ...] | None:
    if len(matched) < 2:
        return None
    axis = 0 if pick in ("leftmost", "rightmost") else 1
    first = pick in ("leftmost", "top")
    sign, edge = (1, axis) if first else (-1, axis + 2)
    order = sorted(matched, key=lambda i: sign * objects[i].center[axis])
    best, second = objects[order[0]], objects[order[1]]
    clear = sign * (second.center[axis] - best.center[axis]) >= _CLEAR
    outermost = all(sign * (objects[i].box[edge] - best.box[edge]) > 0 for i in order[1:])
    in_half = axis == 0 or (best.center[1] < 0.5) == first
    return (order[0],) if clear and outermost and in_half else None


def _related(
    relation: str, anchor: Phrase, matched: tuple[int, ...], objects: Sequence[Located]
) -> tuple[int, ...] | None:
    anchors = _match(anchor, objects)
    if anchors is None or len(anchors) != 1:
        return None
    verdicts = {i: _holds(relation, objects[i], objects[anchors[0]]) for i in matched if i != anchors[0]}
    if None in verdicts.values():
        return None
    return tuple(i for i, holds in verdicts.items() if holds)


def _holds(relation: str, item: Located, anchor: Located) -> bool | None:
    """Whether the relation plainly holds or plainly does not; None between the two."""
    dx, dy = (item.center[k] - anchor.center[k] for k in (0, 1))
    along, across = {"left of": (-dx, dy), "right of": (dx, dy), "above": (-dy, dx), "below": (dy, dx)}[relation]
    if along >= _CLEAR and along >= abs(across):
        return True
    return False if along <= 0 else None
