"""From phrases to the categories of a COCO file: the phrases themselves, their nouns, or what a file says."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from simpleseg_core.config.yaml import parse_yaml

Categories = Callable[[Sequence[str]], Mapping[str, str | None]]
"""The category of each phrase; None leaves its instances out."""

_BEFORE = frozenset("about above at behind beside by for from in inside near of on over under who with".split())
"""Words behind which a phrase says more of its noun."""
_SHOWN = 5


def by_phrase(phrases: Sequence[str]) -> Mapping[str, str | None]:
    """Each phrase is a category of its own."""
    return {phrase: phrase for phrase in phrases}


def by_noun(phrases: Sequence[str]) -> Mapping[str, str | None]:
    """The last word of a phrase before any preposition: "red car" and "car on the left" are both a "car"."""
    return {phrase: _noun(phrase) for phrase in phrases}


def by_file(file: Path) -> Categories:
    """Categories as a YAML or JSON file maps them: phrases, or else nouns, to names; null leaves them out.

    Raises:
        ValueError: not a file with such a map; the categories raise it where a phrase is not in the map.
    """
    try:
        table = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: no categories can be read from it ({error})") from error
    if not isinstance(table, dict) or not all(isinstance(name, str | None) for name in table.values()):
        raise ValueError(f"{file}: not a map of phrases or nouns to categories, such as `sedan: car`")

    def categories(phrases: Sequence[str]) -> Mapping[str, str | None]:
        unknown = [phrase for phrase in phrases if phrase not in table and _noun(phrase) not in table]
        if unknown:
            some = ", ".join(map(repr, unknown[:_SHOWN])) + (", ..." if len(unknown) > _SHOWN else "")
            raise ValueError(f"{file}: no category for {len(unknown)} phrases ({some}); `NOUN: null` leaves one out")
        return {phrase: table[phrase if phrase in table else _noun(phrase)] for phrase in phrases}

    return categories


def _noun(phrase: str) -> str:
    words = phrase.lower().split()
    stop = next((i for i, word in enumerate(words) if i and word in _BEFORE), len(words))
    return words[stop - 1] if words else phrase
