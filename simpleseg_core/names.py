"""Names that somebody typed: what they may have meant."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches

_LONGEST = 120
"""Characters of a name that are compared with the known ones."""
_MOST = 3
"""Names that are said."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` with the known names that this is short for, the nearest, or dotted ones that end alike.

    Empty where none is near.
    """
    typed, names = name[-_LONGEST:], list(known)
    alike = _ending_alike(typed, names)
    meant = (
        _short_for(typed, names, str.__eq__)
        or _short_for(typed, names, str.startswith)
        or get_close_matches(typed, alike or names, n=1, cutoff=0.7)
        or alike
        or _ending_nearly_alike(typed, names)
    )
    return f", did you mean {' or '.join(f'`{each}`' for each in meant[:_MOST])}?" if meant else ""


def _short_for(typed: str, names: list[str], fits: Callable[[str, str], bool]) -> list[str]:
    """Names that have the typed parts in this order, the last one last: `sft.optimizer.lr` for `sft.lr`."""
    *above, last = typed.split(".")
    return [each for each in names if last and _has(each.split("."), above, last, fits)]


def _has(parts: list[str], above: list[str], last: str, fits: Callable[[str, str], bool]) -> bool:
    left = iter(parts[:-1])
    return fits(parts[-1], last) and all(any(fits(part, short) for part in left) for short in above)


def _ending_alike(typed: str, names: list[str]) -> list[str]:
    return [each for each in names if "." in each and _end(each) == _end(typed)]


def _ending_nearly_alike(typed: str, names: list[str]) -> list[str]:
    dotted = [each for each in names if "." in each]
    near = get_close_matches(_end(typed), map(_end, dotted), n=1, cutoff=0.8)
    return [each for each in dotted if _end(each) in near]


def _end(name: str) -> str:
    return name.rsplit(".", 1)[-1]
