"""What constrained decoding may generate always parses, and every formatted answer may be generated."""

import re

import numpy as np
import pytest
import xgrammar
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.grammar import (
    Style,
    answer_regex,
    format_box,
    format_points,
    format_polygons,
    parse_box,
    parse_polygons,
)

STYLES: tuple[Style, ...] = ("unit", "permille")
PARSERS = {"text->mask": parse_polygons, "text->bbox": parse_box}
TASKS = ("text->mask", "text->point", "text->bbox")
TARGETS = {
    "text->mask": [[], [np.array([[0.1, 0.2], [0, 1], [0.345, 1]])], [np.eye(3)[:, :2], np.eye(4)[:, :2]]],
    "text->point": [[], [0.5, 1], [[0.1, 0.2], [0.3, 0]]],
    "text->bbox": [None, [0, 0.5, 1, 0.25], [[0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]]],
}
FORMATS = {"text->mask": format_polygons, "text->point": format_points, "text->bbox": format_box}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("task", PARSERS)
def test_what_the_regex_generates_parses_strictly(task: str, style: Style) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.from_regex(answer_regex(task, style, max_points=6, max_polygons=3), fullmatch=True))
    def check(text: str) -> None:
        assert PARSERS[task](text).error is None
        assert PARSERS[task](text, strict=True, style=style).error is None

    check()


def accepts(grammar: xgrammar.Grammar, text: str) -> bool:
    """Whether a byte-level matcher of xgrammar, the library behind vLLM's structured output, takes the whole text."""
    vocabulary = [bytes([byte]) for byte in range(256)] + [b"</s>"]
    info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[256])
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_grammar(grammar))
    return all(matcher.accept_token(byte) for byte in text.encode()) and matcher.accept_token(256)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("task", TASKS)
def test_the_engine_s_grammar_accepts_every_target_and_no_other_form(task: str, style: Style) -> None:
    regex = answer_regex(task, style)
    grammar = xgrammar.Grammar.from_regex(regex)
    for target in TARGETS[task]:
        text = FORMATS[task](target, style=style)
        assert re.fullmatch(regex, text)
        assert accepts(grammar, text)
    for wrong in ("", "[[", "[[[1]]]", "[2000,1]", "box", "[-1,0]", "[01,2]"):
        assert not accepts(grammar, wrong)


def test_limits_bound_the_answer() -> None:
    regex = answer_regex("text->mask", max_points=4, max_polygons=2)
    four, five = np.eye(4)[:, :2], np.eye(5)[:, :2]
    assert re.fullmatch(regex, format_polygons([four, four]))
    assert not re.fullmatch(regex, format_polygons([five]))
    assert not re.fullmatch(regex, format_polygons([four, four, four]))


def test_a_textual_answer_has_no_lists() -> None:
    assert re.fullmatch(answer_regex("mask->text"), "the red dog")
    assert not re.fullmatch(answer_regex("point->text"), "[1,2]")


@pytest.mark.parametrize("arguments", [{"max_points": 2}, {"max_polygons": 0}])
def test_limits_too_low_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 3 points"):
        answer_regex("text->mask", **arguments)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match="mask->mask"):
        answer_regex("mask->mask")
