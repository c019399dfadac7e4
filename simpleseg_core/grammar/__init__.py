"""Targets <-> text: format, parse, templates, and the grammar for constrained decoding."""

from simpleseg_core.grammar._types import ELEMENTS, PAIRS, Element, Style, answer_element
from simpleseg_core.grammar.constrain import answer_regex
from simpleseg_core.grammar.format import format_box, format_points, format_polygons
from simpleseg_core.grammar.parse import Parsed, ParsedBoxes, parse_box, parse_polygons
from simpleseg_core.grammar.templates import PUBLISHED_ANSWERS, PUBLISHED_QUESTIONS, QUESTIONS, answer, question

__all__ = [
    "ELEMENTS",
    "PAIRS",
    "PUBLISHED_ANSWERS",
    "PUBLISHED_QUESTIONS",
    "QUESTIONS",
    "Element",
    "Parsed",
    "ParsedBoxes",
    "Style",
    "answer",
    "answer_element",
    "answer_regex",
    "format_box",
    "format_points",
    "format_polygons",
    "parse_box",
    "parse_polygons",
    "question",
]
