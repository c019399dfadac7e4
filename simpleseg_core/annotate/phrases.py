"""Noun phrases of captions and where they stand, by a rule that needs no language model.

The rule cuts a caption at punctuation and at words that cannot belong to a noun phrase (prepositions, conjunctions,
forms of "be" and "have", relative pronouns), strips determiners, and drops phrases that end in an abstract or a
photographic noun. It knows no parts of speech: verbs it does not list stay in the phrase ("dog chasing ball" is one
phrase), and so do adverbs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_CUTS = _words(
    """about above across after against along amid among and are around as at be before behind being below beneath
    beside between beyond but by do does during each for from had has have her his how in inside into is its it like my
    near next nor of off on onto or other our out outside over past that their them then there these they this those
    through to toward towards under until up upon was we were what when where which while who whose why will with within
    without you your"""
)
_DETERMINERS = _words("a an the some several many few one two three four five six both all another any no every")
_ABSTRACT = _words(
    """art background beauty black-and-white closeup concept copy day design edition free front fun high-quality idea
    illustration image images lot love luxury moment morning new night photo photograph photography photos picture
    pictures quality sale side space stock style time top vector view way year years"""
)


@dataclass(frozen=True, slots=True)
class CaptionPhrase:
    """A phrase: its lower-case text, and the characters [start, end) of the caption where it stands, or (-1, -1)."""

    text: str
    start: int
    end: int


def noun_phrases(caption: str) -> list[CaptionPhrase]:
    """Noun phrases of a caption in reading order, each text once (its first place)."""
    found: dict[str, CaptionPhrase] = {}
    for words in _runs(caption):
        kept = _strip(words)
        if kept:
            start, end = kept[0].start(), kept[-1].end()
            phrase = CaptionPhrase(caption[start:end].lower(), start, end)
            found.setdefault(phrase.text, phrase)
    return list(found.values())


def listed_phrases(phrases: Iterable[str], caption: str) -> list[CaptionPhrase]:
    """Given phrases, each text once, with their first place in the caption if it names them."""
    found: dict[str, CaptionPhrase] = {}
    for text in (" ".join(phrase.lower().split()) for phrase in phrases):
        start = caption.lower().find(text)
        found.setdefault(text, CaptionPhrase(text, start, start + len(text) if start >= 0 else -1))
    return list(found.values())


def _runs(caption: str) -> list[list[re.Match[str]]]:
    """Words between cuts: a new run starts after a cut word, and wherever more than white space lies between."""
    runs: list[list[re.Match[str]]] = [[]]
    previous_end = 0
    for match in _WORD.finditer(caption):
        if caption[previous_end : match.start()].strip():
            runs.append([])
        previous_end = match.end()
        if match[0].lower() in _CUTS:
            runs.append([])
        else:
            runs[-1].append(match)
    return [run for run in runs if run]


def _strip(words: list[re.Match[str]]) -> list[re.Match[str]]:
    while words and words[0][0].lower() in _DETERMINERS:
        words = words[1:]
    head = words[-1][0].lower() if words else ""
    concrete = len(head) > 1 and not head.isdigit() and head not in _ABSTRACT
    return words if concrete else []
