"""The lists of numbers in a text and what each of them lies in: one pass, whatever stands around them."""

import re
from array import array
from dataclasses import dataclass, field
from itertools import count

MAX_NUMBERS = 20_000
"""Numbers that are read of one answer: one that holds more is refused, so that drawing an answer stays cheap."""

# JSON's numbers, and what models write for them: a sign too many, a digit too few before or after the point.
_NUMBER = r"[-+]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][-+]?+[0-9]++)?+"
_ROW = rf"\[[\s,]*+(?P<row>{_NUMBER}(?:[\s,]++{_NUMBER})*+)[\s,]*+\]"
# A list without lists in it: empty, or of numbers and what JSON knows no number as.
_STRUCTURE = rf"{_ROW}|\[(?P<inner>[^\[\]{{}}]*+)\]|(?P<bracket>[\[\]{{}}])|(?P<number>{_NUMBER})|[\s,]++"
_LIST = re.compile(rf"{_STRUCTURE}|(?P<prose>[^\s,\[\]{{}}]++)")
# The names and texts of a JSON object may hold brackets; one whose end is missing goes on to the end of its line.
_OBJECT = re.compile(rf"""{_STRUCTURE}|"(?:[^"\\\n]|\\.)*+"?+|'(?:[^'\\\n]|\\.)*+'?+|[^\s,\[\]{{}}"']""")
_WHOLE = re.compile(r"[-+0-9\s,]*+")
_SEPARATOR = re.compile(r"[\s,]+")


@dataclass(slots=True)
class Rows:
    """The lists of a text that hold nothing but numbers: row i is `numbers[ends[i - 1]:ends[i]]`."""

    numbers: "array[float]" = field(default_factory=lambda: array("d"))
    ends: "array[int]" = field(default_factory=lambda: array("q", [0]))
    """One more than there are rows; the first is 0."""
    parents: "array[int]" = field(default_factory=lambda: array("q"))
    """The list or object around each row, or the stretch of text between two pieces of prose."""
    objects: "array[int]" = field(default_factory=lambda: array("q"))
    """The innermost JSON object around each row; 0 outside of any."""
    spoiled: set[int] = field(default_factory=set)
    """Parents beside whose rows a list holds what is no number, such as `[null, 5]`."""
    decimal: bool = False
    """Whether a number of some row has a point or an exponent."""
    empty: bool = False
    """Whether some list holds nothing at all, however deep."""
    too_long: bool = False
    """Whether reading stopped at `MAX_NUMBERS`."""


def read_rows(text: str) -> Rows:
    """Read the rows of a text, in time that is linear in its length."""
    reader = _Reader()
    position = 0
    while position < len(text) and not reader.rows.too_long:
        match = (_OBJECT if reader.in_object() else _LIST).match(text, position)
        if match is None:  # every character is one of the alternatives
            break
        position = match.end()
        reader.take(match)
    return reader.rows


@dataclass(slots=True)
class _Reader:
    """Where in a text we are: the lists and objects that are open, each by a number of its own."""

    rows: Rows = field(default_factory=Rows)
    open: list[int] = field(default_factory=list)
    open_objects: list[int] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    stretch: int = 0
    full: int = 0
    """How many of those that are open hold something: where one does, so do those around it."""

    def in_object(self) -> bool:
        return bool(self.open_objects) and self.open_objects[-1] == self.open[-1]

    def take(self, match: re.Match[str]) -> None:
        kind = match.lastgroup
        if kind == "row":
            self._add(match["row"])
        elif kind == "inner":
            self._inner(match["inner"])
        elif kind == "bracket":
            self._bracket(match["bracket"])
        elif kind == "number":
            self.full = len(self.open)
        elif kind == "prose":
            self._prose()

    def _add(self, row: str) -> None:
        rows = self.rows
        rows.numbers.extend(map(float, _SEPARATOR.split(row)))
        rows.ends.append(len(rows.numbers))
        rows.parents.append(self.open[-1] if self.open else self.stretch)
        rows.objects.append(self.open_objects[-1] if self.open_objects else 0)
        rows.decimal |= not rows.decimal and not _WHOLE.fullmatch(row)
        rows.too_long = len(rows.numbers) > MAX_NUMBERS
        self.full = len(self.open)

    def _inner(self, text: str) -> None:
        if not _SEPARATOR.sub("", text):
            self._bracket("[")
            self._bracket("]")
        elif self.in_object():
            self.full = len(self.open)
        elif self.open:
            self.rows.spoiled.add(self.open[-1])
            self.full = len(self.open)
        else:
            self._prose()

    def _bracket(self, bracket: str) -> None:
        if bracket in "[{":
            self.open.append(next(self.numbers))
            if bracket == "{":
                self.open_objects.append(self.open[-1])
                self.full = len(self.open)
        elif self.open and (bracket == "}") == self.in_object():
            if bracket == "}":
                self.open_objects.pop()
            self.open.pop()
            in_no_list = len(self.open) == len(self.open_objects)
            self.rows.empty |= bracket == "]" and in_no_list and self.full <= len(self.open)
            self.full = min(self.full, len(self.open))
        else:
            self._prose()

    def _prose(self) -> None:
        """Words end every list and object that is open."""
        self.open, self.open_objects, self.full, self.stretch = [], [], 0, next(self.numbers)
