"""Noun phrases of captions: what the rule finds, where, and what it leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.annotate.phrases import noun_phrases


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("a red circle, a blue star and the small green ring", ["red circle", "blue star", "small green ring"]),
        ("Two dogs on a wooden bench in the park", ["dogs", "wooden bench", "park"]),
        ("A beautiful photo of the mountain lake", ["mountain lake"]),
        ("stock photo", []),
        ("Man with black-and-white cat | Flickr", ["man", "black-and-white cat", "flickr"]),
        ("a cat and another cat", ["cat"]),
        ("three, 2019, & a", []),
        ("", []),
        ("un café à Paris", ["un café à paris"]),
    ],
)
def test_phrases_of_captions(caption: str, phrases: list[str]) -> None:
    assert [phrase.text for phrase in noun_phrases(caption)] == phrases


@given(st.text(max_size=80))
def test_a_phrase_stands_in_the_caption_where_it_says(caption: str) -> None:
    found = noun_phrases(caption)
    assert len({phrase.text for phrase in found}) == len(found)
    for phrase in found:
        assert caption[phrase.start : phrase.end].lower() == phrase.text
