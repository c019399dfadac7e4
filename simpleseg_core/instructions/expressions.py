"""Referring expressions for objects with a name and a box: by name, size and position, where they are plain."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

ExpressionKind = Literal["attribute", "size", "position"]

_CLEAR = 0.08
"""Gap between two centres, over the image side, that makes an order plain to the eye."""
_RATIO = 1.5
"""Ratio of two areas that makes a size order plain."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object: its name or noun phrase, its box (xyxy, normalised) and its area as a share of the image."""

    name: str
    box: tuple[float, float, float, float]
    area: float


@dataclass(frozen=True, slots=True)
class Naming:
    """An expression that means exactly one of the items."""

    text: str
    kind: ExpressionKind
    index: int


@dataclass(frozen=True, slots=True)
class _Pick:
    """One of a group, as the extreme of a measure; `template` makes the expression."""

    template: str
    kind: ExpressionKind
    measure: Callable[[Item], float]
    clear: Callable[[float, float], bool]
    """Whether the best measure is plainly ahead of the second."""


def _ahead(best: float, second: float) -> bool:
    return best - second >= _CLEAR


def _bigger(best: float, second: float) -> bool:
    return best >= _RATIO * second


def _smaller(best: float, second: float) -> bool:
    return best * _RATIO <= second


_PICKS = (
    _Pick("leftmost {}", "position", lambda item: -(item.box[0] + item.box[2]) / 2, _ahead),
    _Pick("rightmost {}", "position", lambda item: (item.box[0] + item.box[2]) / 2, _ahead),
    _Pick("biggest {}", "size", lambda item: item.area, _bigger),
    _Pick("{} at the top", "position", lambda item: -(item.box[1] + item.box[3]) / 2, _ahead),
    _Pick("{} at the bottom", "position", lambda item: (item.box[1] + item.box[3]) / 2, _ahead),
    _Pick("smallest {}", "size", lambda item: -item.area, lambda best, second: _smaller(-best, -second)),
)


def name_items(items: Sequence[Item], vague: Sequence[str] = ()) -> list[Naming]:
    """Every plain expression for the items of one image, the shortest kind first for each name.

    A name alone serves where one item answers to it, an extreme ("leftmost dog") where it is ahead of the others by a
    margin. "circle" is also a name of a "red circle": an item answers to a name when it has all of its words.

    Args:
        vague: names that also mean things not among the items, such as a crowd: never used.
    """
    names = [name for name in dict.fromkeys(item.name for item in items) if not any(_answers(v, name) for v in vague)]
    return [naming for name in names for naming in _name_group(name, items)]


def _name_group(name: str, items: Sequence[Item]) -> Iterator[Naming]:
    group = [index for index, item in enumerate(items) if _answers(item.name, name)]
    if len(group) == 1:
        yield Naming(name, "attribute", group[0])
        return
    for pick in _PICKS:
        first, second = sorted(group, key=lambda index: -pick.measure(items[index]))[:2]
        if pick.clear(pick.measure(items[first]), pick.measure(items[second])):
            yield Naming(pick.template.format(name), pick.kind, first)


def _answers(name: str, asked: str) -> bool:
    """Whether something of this name may be meant by the asked one."""
    return set(asked.split()) <= set(name.split())
