"""Text -> targets: linear in the length of the text, never raises, and says what was wrong."""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar._types import Element, Style
from simpleseg_core.grammar.constrain import strict_pattern

_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_SYMBOL = re.compile(rf"[\[\]]|{_NUMBER.pattern}|[^\s,\[\]]")
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Parsed:
    """Polygons read from an answer; no polygons and no error means that the answer was `[]`: nothing there."""

    polygons: list[Polygon] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedPoints:
    """Points (N, 2) read from an answer; none and no error means `[]`."""

    points: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedBoxes:
    """Boxes (N, 4) xyxy read from an answer; none and no error means `[]`."""

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    error: str | None = None


@dataclass(slots=True)
class _Group:
    """One top-level list of the text: its innermost lists of numbers, and which list each of them lies in."""

    rows: list[list[float]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    decimal: bool = False
    closed: bool = False


def parse_polygons(text: str, *, strict: bool = False, style: Style | None = None) -> Parsed:
    """Read polygons from an answer.

    Tolerates prose around the answer, a missing end (what is complete counts), spaces, markdown fences, either style,
    and a box where polygons were asked for. A decimal point anywhere means `unit`, otherwise `permille`, unless `style`
    says which. What lies outside the image is moved to its edge. `strict` accepts nothing but the exact form of `style`
    (of either, when None).
    """
    if strict and not _is_strict(text, "mask", style):
        return Parsed(error="not in the exact form [[[x,y],...],...]")
    groups = _groups(text)
    problem = "no list of numbers in the answer" if not groups else "no polygon in the answer: it needs three points"
    for group in groups:
        polygons = _polygons(group, style)
        if polygons:
            return Parsed(polygons)
    if any(group.closed and not group.rows for group in groups):
        return Parsed()
    return Parsed(error=problem)


def parse_points(text: str, *, strict: bool = False, style: Style | None = None) -> ParsedPoints:
    """Read one point `[x,y]` or several `[[x,y],...]`; as tolerant as `parse_polygons`."""
    rows, error = _parse_rows(text, 2, "point", strict, style)
    return ParsedPoints(rows, error)


def parse_box(text: str, *, strict: bool = False, style: Style | None = None) -> ParsedBoxes:
    """Read one box `[x1,y1,x2,y2]` or several; corners are put in order; as tolerant as `parse_polygons`."""
    rows, error = _parse_rows(text, 4, "bbox", strict, style)
    ordered = np.concatenate([np.minimum(rows[:, :2], rows[:, 2:]), np.maximum(rows[:, :2], rows[:, 2:])], axis=1)
    return ParsedBoxes(ordered, error)


def _parse_rows(
    text: str, width: int, element: Element, strict: bool, style: Style | None
) -> tuple[NDArray[np.float64], str | None]:
    nothing = np.empty((0, width))
    if strict and not _is_strict(text, element, style):
        return nothing, f"not in the exact form of a {element}"
    groups = _groups(text)
    for group in groups:
        rows = [row for row in group.rows if len(row) == width]
        if rows:
            return _scaled(rows, group, style), None
    if any(group.closed and not group.rows for group in groups):
        return nothing, None
    return nothing, f"no list of {width} numbers in the answer"


def _is_strict(text: str, element: Element, style: Style | None) -> bool:
    styles: tuple[Style, ...] = ("permille", "unit") if style is None else (style,)
    return any(strict_pattern(element, style).fullmatch(text.strip()) for style in styles)


def _scaled(rows: list[list[float]], group: _Group, style: Style | None) -> NDArray[np.float64]:
    unit = group.decimal if style is None else style == "unit"
    return np.clip(np.array(rows, np.float64) / (1 if unit else 1000), 0.0, 1.0)


def _polygons(group: _Group, style: Style | None) -> list[Polygon]:
    members: dict[int, list[list[float]]] = {}
    for row, parent in zip(group.rows, group.parents, strict=True):
        members.setdefault(parent, []).append(row)
    polygons: list[Polygon] = []
    for rows in members.values():
        points = [row for row in rows if len(row) == 2]
        if len(points) >= 3:
            polygons.append(_scaled(points, group, style))
        polygons.extend(_scaled(_corners(row), group, style) for row in rows if len(row) >= 4 and len(row) % 2 == 0)
    return polygons


def _corners(row: list[float]) -> list[list[float]]:
    """The points of a flat list: four numbers are a box, more are x, y, x, y, ..."""
    if len(row) == 4:
        x1, y1, x2, y2 = row
        return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
    return [list(pair) for pair in zip(row[::2], row[1::2], strict=True)]


def _groups(text: str) -> list[_Group]:
    """The top-level lists of a text; lists with only commas between them are one, prose inside a list ends it."""
    groups: list[_Group] = []
    stack: list[int] = []
    numbers: list[float] = []
    lists, apart = 0, True
    for symbol in _SYMBOL.findall(text):
        if symbol == "[":
            if not stack and apart:
                groups.append(_Group())
            lists, apart, numbers = lists + 1, False, []
            stack.append(lists)
        elif symbol == "]" and stack:
            _close(groups[-1], numbers, stack)
            numbers = []
        elif stack and _NUMBER.fullmatch(symbol):
            numbers.append(float(symbol[:_MAX_DIGITS]))
            groups[-1].decimal |= "." in symbol
        else:
            stack, numbers, apart = [], [], True
    return groups


def _close(group: _Group, numbers: list[float], stack: list[int]) -> None:
    stack.pop()
    group.closed = not stack
    if numbers:
        group.rows.append(numbers)
        group.parents.append(stack[-1] if stack else 0)
