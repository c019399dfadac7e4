"""Every directed pair has questions, and a question says all that it needs."""

import numpy as np
import pytest

from simpleseg_core.grammar import (
    PAIRS,
    PUBLISHED_QUESTIONS,
    QUESTIONS,
    answer,
    parse_polygons,
    question,
)

GIVEN = {
    "expression": "red dog",
    "point": np.array([0.1, 0.2]),
    "box": np.array([0.1, 0.2, 0.3, 0.4]),
    "polygons": [np.array([[0.1, 0.2], [0.3, 0.2], [0.3, 0.4]])],
}


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_there_are_twelve_directed_pairs_with_questions() -> None:
    assert len(PAIRS) == len(set(PAIRS)) == 12
    assert set(PAIRS) <= set(QUESTIONS)


@pytest.mark.parametrize("task", QUESTIONS)
def test_a_question_names_what_is_given(task: str) -> None:
    asked = {question(task, **GIVEN, variety=9, rng=rng()) for _ in range(3)} | {question(task, **GIVEN)}  # type: ignore[arg-type]
    said = {"text": "red dog", "point": "[100,200]", "bbox": "[100,200,300,400]", "mask": "[[[100,200],"}
    given = task.partition("->")[0] if task in PAIRS else None
    assert all(given is None or said[given] in text for text in asked)
    assert not any("{" in text for text in asked)


@pytest.mark.parametrize("task", PAIRS)
def test_no_two_tasks_share_a_question(task: str) -> None:
    others = {template for name, templates in QUESTIONS.items() if name != task for template in templates}
    assert not others & set(QUESTIONS[task])


def test_variety_counts_the_wordings_drawn_from() -> None:
    generator = rng()
    drawn = {question("text->mask", expression="x", variety=2, rng=generator) for _ in range(40)}
    assert drawn == {template.format(text="x") for template in QUESTIONS["text->mask"][:2]}
    assert question("text->mask", expression="x") == QUESTIONS["text->mask"][0].format(text="x")


def test_published_questions_are_drawn_for_the_released_weights() -> None:
    generator = rng()
    drawn = {question("text->mask", expression="x", published=True, rng=generator) for _ in range(200)}
    assert drawn == {template.format(text="x") for template in PUBLISHED_QUESTIONS}
    assert len(drawn) == 7


def test_published_answers_still_parse() -> None:
    generator = rng()
    target = "[[[0.1, 0.2], [0.3, 0.2], [0.3, 0.4]]]"
    assert all(parse_polygons(answer(target, published=True, rng=generator)).error is None for _ in range(20))
    assert answer(target) == target


def test_expressions_with_braces_are_left_alone() -> None:
    assert "{mask}" in question("text->mask", expression="{mask} {0}")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="needs a point"):
        question("point->mask", expression="dog")
    with pytest.raises(ValueError, match="unknown task"):
        question("text->sound", expression="dog")
    with pytest.raises(ValueError, match="rng"):
        question("text->mask", expression="dog", variety=2)
