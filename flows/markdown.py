"""Markdown for Prefect's pages: a text of others is one line that nothing in it can make a link, a picture or HTML."""

import re
from collections.abc import Iterable, Mapping, Sequence

from simpleseg_core.plain import one_line

_MOST = 200
_SPECIAL = re.compile(
    r"""[\\`*\[\]<>|~&$]            # wherever they stand
    | (?<!\w)_ | _(?!\w)            # inside of a word an underscore is one
    | :(?=//) | @ | (?<=www)\.      # addresses become links by themselves
    | ^[#+\-=](?=[#\-=\s]|$)        # a heading, a list, a line
    | (?<=^\d)[.)](?=\s)""",
    re.VERBOSE | re.IGNORECASE,
)


def text(value: object) -> str:
    """A value as a piece of markdown that shows what it is: one line, cut where it is long."""
    return _SPECIAL.sub(r"\\\g<0>", one_line(str(value), _MOST))


def code(value: object) -> str:
    """A value in the type of code."""
    return f"`{one_line(str(value), _MOST).replace('`', chr(0x2019)).replace('|', '/')}`"


def table(headings: Sequence[object], rows: Iterable[Sequence[str]]) -> str:
    """A table whose rows are markdown already; numbers stand in the last column."""
    rule = "|".join(["---"] * (len(headings) - 1) + ["---:"])
    lines = [[text(heading) for heading in headings], *rows]
    first, *rest = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([first, f"|{rule}|", *rest])


def cells(rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """Rows for a table artifact, whose page reads texts as markdown; numbers stay numbers."""
    return [
        {text(key): value if isinstance(value, int | float) else text(value) for key, value in row.items()}
        for row in rows
    ]


def leading(counts: Mapping[str, int], most: int = 10) -> dict[str, int]:
    """The largest counts by text, and the sum of the others."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = {text(name): count for name, count in ranked[:most]}
    others = ranked[most:]
    return shown | ({f"{len(others):,} others": sum(count for _, count in others)} if others else {})
