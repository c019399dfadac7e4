"""Text -> targets: linear in the length of the text, never raises, and says what was wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.geometry import Polygon
from simpleseg_core.grammar._rows import MAX_NUMBERS, Rows, read_rows
from simpleseg_core.grammar._types import Element, Style
from simpleseg_core.grammar.constrain import strict_pattern

Numbers = NDArray[np.float64]

_AMBIGUOUS = 2.0
"""Decimals between 1 and this may be over the image's edge in `unit`, or within two thousandths of it in `permille`."""
_CORNERS = [0, 1, 2, 1, 2, 3, 0, 3]
"""Where x and y of the four corners stand in a box."""
_STEPS: dict[Style, int] = {"unit": 1, "permille": 1000}
_WANTED: dict[Element, str] = {"mask": "polygon of three points or more", "bbox": "list of 4 numbers"}


@dataclass(frozen=True, slots=True)
class Parsed:
    """Polygons read from an answer; no polygons and no error means that the answer was `[]`: nothing there."""

    polygons: list[Polygon] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedBoxes:
    """Boxes (N, 4) xyxy read from an answer; none and no error means `[]`."""

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    error: str | None = None


def parse_polygons(
    text: str, *, strict: bool = False, style: Style | None = None, size: tuple[int, int] | None = None
) -> Parsed:
    """Read polygons from an answer.

    Tolerates prose around the answer and between its lists, a missing end (what is complete counts), spaces, markdown
    fences, either style, JSON lists of dictionaries (`bbox_2d`, `polygon`, whatever they are called), and boxes where
    polygons were asked for; a box beside an outline of the same object says nothing new. All objects count, up to
    10,000 points in all. What lies outside the image is moved to its edge. An outline with a point that is none, such
    as `[null,5]` or `["1","2"]`, is left out whole.

    Args:
        strict: accept nothing but the exact form of `style` (of either, when None).
        style: what was asked for, if that is known. One style holds for the whole answer: numbers above 1 are
            `permille`, decimals up to 1 are `unit`, an answer with outlines of both an error. What was asked for
            decides only where the numbers leave it open: zeros and ones without a decimal point, and decimals just
            above 1, which are an error when it is None.
        size: width and height in pixels of the image whose pixels the numbers count; `style` says nothing then.
    """
    found, error = _parse(text, "mask", _outlines, strict, style, size)
    return Parsed([outline.reshape(-1, 2) for outline in found], error)


def parse_box(text: str, *, strict: bool = False, style: Style | None = None) -> ParsedBoxes:
    """Read one box `[x1,y1,x2,y2]` or several; corners are put in order; as tolerant as `parse_polygons`."""
    found, error = _parse(text, "bbox", lambda rows: [row for row in _split(rows) if len(row) == 4], strict, style)
    corners = np.array(found).reshape(-1, 2, 2)
    return ParsedBoxes(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1), error)


def _parse(
    text: str,
    element: Element,
    choose: Callable[[Rows], list[Numbers]],
    strict: bool,
    style: Style | None,
    size: tuple[int, int] | None = None,
) -> tuple[list[Numbers], str | None]:
    """What `choose` takes from the lists of numbers in a text, normalised, and what was wrong."""
    if strict and not _is_strict(text, element, style):
        return [], f"not in the exact form of a {element}"
    rows = read_rows(text)
    if rows.too_long:
        return [], f"more than {MAX_NUMBERS // 2:,} points in the answer"
    chosen = choose(rows)
    if not chosen:
        return [], None if rows.empty and not rows.parents else f"no {_WANTED[element]} in the answer"
    steps = _steps(chosen, rows.decimal, style, size)
    if isinstance(steps, str):
        return [], steps
    return [np.clip((row.reshape(-1, 2) / steps).ravel(), 0.0, 1.0) for row in chosen], None


def _is_strict(text: str, element: Element, style: Style | None) -> bool:
    styles: tuple[Style, ...] = ("permille", "unit") if style is None else (style,)
    return any(strict_pattern(element, style).fullmatch(text.strip()) for style in styles)


def _steps(
    chosen: list[Numbers], decimal: bool, asked: Style | None, size: tuple[int, int] | None
) -> int | tuple[int, int] | str:
    """Steps along the sides in the style that coordinates and their notation tell, or why they tell none."""
    largest = [float(row.max()) for row in chosen]
    if not all(np.isfinite(row).all() for row in chosen):
        return "a coordinate is no finite number"
    if size is not None:
        return size
    if max(largest) <= 1:
        return _STEPS["unit" if decimal else asked or "permille"]
    if decimal and max(largest) < _AMBIGUOUS:
        unclear = f"decimals up to {max(largest):g} are neither parts of the image, up to 1, nor thousandths of it"
        return _STEPS[asked] if asked else unclear
    if any(most <= 1 and (row % 1).any() for most, row in zip(largest, chosen, strict=True)):
        return "some coordinates are parts of the image, up to 1, and others thousandths of it"
    return _STEPS["permille"]


def _split(rows: Rows) -> list[Numbers]:
    return np.split(np.frombuffer(rows.numbers), rows.ends[1:-1]) if len(rows.ends) > 1 else []


def _outlines(rows: Rows) -> list[Numbers]:
    """Flat outlines (2 N,), N >= 3: lists of points, flat lists, and boxes beside which there is neither."""
    lists: dict[tuple[int, int], list[Numbers]] = {}
    for i, row in enumerate(_split(rows)):
        if len(row) == 2 and rows.parents[i] not in rows.spoiled:
            lists.setdefault((rows.objects[i], rows.parents[i]), []).append(row)
        elif len(row) % 2 == 0 and len(row) > 2:
            lists[rows.objects[i], ~i] = [row]
    outlined = {item for (item, _), parts in lists.items() if sum(map(len, parts)) >= 6}
    found = []
    for (item, _), parts in lists.items():
        flat = np.concatenate(parts)
        if len(flat) >= 6:
            found.append(flat)
        elif len(flat) == len(parts[0]) == 4 and item not in outlined:
            found.append(flat[_CORNERS])
    return found
