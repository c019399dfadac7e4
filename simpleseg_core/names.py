"""Names that somebody typed: what they may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 120
"""Characters of a name that are compared with the known ones."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` with the nearest known name, or dotted ones that end alike; empty where none is near."""
    typed, names = name[-_LONGEST:], list(known)
    alike = [each for each in names if "." in each and each.rsplit(".", 1)[-1] == typed.rsplit(".", 1)[-1]]
    close = get_close_matches(typed, names, n=1, cutoff=0.7) or alike[:3]
    return f", did you mean {' or '.join(f'`{each}`' for each in close)}?" if close else ""
