"""The grammar of an answer as a regular expression, for constrained decoding and for the strict format check."""

import re
from functools import cache

from simpleseg_core.grammar._types import Style, answer_element

_NUMBER: dict[str, str] = {"permille": r"(?:0|[1-9][0-9]{0,2}|1000)", "unit": r"(?:0\.[0-9]{1,3}|1\.0)"}
_COMMA: dict[str, str] = {"permille": ",", "unit": ", "}


def answer_regex(task: str, style: Style = "permille", *, max_points: int = 64, max_polygons: int = 8) -> str:
    """A regular expression of every answer to a task (`text->mask`, ...); what it generates always parses.

    Args:
        max_points: points of one polygon, at least 3.
        max_polygons: polygons, boxes or points of one answer.
    """
    return _regex(answer_element(task), style, f"{{2,{max_points - 1}}}", f"{{0,{max_polygons - 1}}}")


@cache
def strict_pattern(element: str, style: Style) -> re.Pattern[str]:
    """The exact form of an answer of any length, compiled; it matches in linear time."""
    return re.compile(_regex(element, style, "{2,}+", "*+"))


def _regex(element: str, style: Style, more_points: str, more_items: str) -> str:
    number, comma = _NUMBER[style], _COMMA[style]
    if element == "text":
        return r"[^\[\]\n]+"
    point = rf"\[{number}{comma}{number}\]"
    if element == "mask":
        polygon = rf"\[{point}(?:{comma}{point}){more_points}\]"
        return rf"\[(?:{polygon}(?:{comma}{polygon}){more_items})?\]"
    row = point if element == "point" else rf"\[{comma.join([number] * 4)}\]"
    return rf"(?:\[\]|{row}|\[{row}(?:{comma}{row}){more_items}\])"
