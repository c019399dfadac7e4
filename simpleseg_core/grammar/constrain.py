"""The grammar of an answer: a regular expression for constrained decoding, and the strict format check."""

import re
from functools import cache

from simpleseg_core.grammar._types import Element, Style, answer_element

_NUMBER: dict[Style, str] = {"permille": r"(?:0|[1-9][0-9]{0,2}|1000)", "unit": r"(?:0\.[0-9]{1,3}|1\.0)"}
_COMMA: dict[Style, str] = {"permille": ",", "unit": ", "}
# Around the list, the wordings of the published answers.
_PUBLISHED = r"(?:Sure, you can find it at |It is found at |It is at )?"


def answer_regex(task: str, style: Style = "permille", *, max_points: int = 64, max_polygons: int = 8) -> str:
    """A regular expression of every answer to a task (`text->mask`, ...); what it generates always parses.

    Args:
        max_points: points of one polygon, at least 3.
        max_polygons: polygons, boxes or points of one answer, at least 1.

    Raises:
        ValueError: no such task, or a limit too low.
    """
    if max_points < 3 or max_polygons < 1:
        raise ValueError(f"max_points={max_points}, max_polygons={max_polygons}: at least 3 points and 1 polygon")
    return _regex(answer_element(task), style, f"{{2,{max_points - 1}}}", f"{{0,{max_polygons - 1}}}")


@cache
def strict_pattern(element: Element, style: Style) -> re.Pattern[str]:
    """The exact form of an answer of any length, compiled; it matches in linear time.

    In the published style the wordings of the published answers may stand around it.
    """
    target = _regex(element, style, "{2,}+", "*+")
    return re.compile(rf"{_PUBLISHED}{target}\.?" if style == "unit" else target)


def _regex(element: Element, style: Style, more_points: str, more_items: str) -> str:
    number, comma = _NUMBER[style], _COMMA[style]
    if element == "text":
        return r"[^\[\]\n]+"
    point = rf"\[{number}{comma}{number}\]"
    if element == "mask":
        polygon = rf"\[{point}(?:{comma}{point}){more_points}\]"
        return rf"\[(?:{polygon}(?:{comma}{polygon}){more_items})?\]"
    row = point if element == "point" else rf"\[{comma.join([number] * 4)}\]"
    return rf"(?:\[\]|{row}|\[{row}(?:{comma}{row}){more_items}\])"
