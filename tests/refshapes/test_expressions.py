from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings

from simpleseg_core.config import RefShapesConfig
from simpleseg_core.refshapes import VOCABULARY, Expression, Phrase, Scene, describe, resolve, sample_query, scene
from tests.refshapes.scenes import CONFIG, read_expression, scenes


@dataclass
class Thing:
    """What an expression can speak about, without a picture."""

    color: str
    shape: str
    center: tuple[float, float] = (0.5, 0.5)
    radius: float = 0.15
    size: str | None = None

    @property
    def area(self) -> float:
        return self.radius**2

    @property
    def box(self) -> tuple[float, float, float, float]:
        x, y = self.center
        return x - self.radius, y - self.radius, x + self.radius, y + self.radius


@given(scenes())
@settings(max_examples=400, deadline=None)
def test_words_mean_exactly_the_targets(drawn: Scene) -> None:
    for query in drawn.queries:
        assert read_expression(query.expression, drawn.objects) == set(query.targets), query.expression
        assert resolve(query.structure, drawn.objects) == query.targets


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_query_masks_are_the_union_of_their_targets(drawn: Scene) -> None:
    for query in drawn.queries:
        union = np.zeros_like(query.mask)
        for target in query.targets:
            union |= drawn.objects[target].mask
        assert np.array_equal(query.mask, union)


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_queries_are_few_distinct_and_of_their_kind(drawn: Scene) -> None:
    texts = [query.expression for query in drawn.queries]
    assert 1 <= len(texts) <= 6
    assert len(set(texts)) == len(texts)
    for query in drawn.queries:
        expected = {"none": 0, "multiple": 2}.get(query.kind, 1)
        assert len(query.targets) == expected or (query.kind == "multiple" and len(query.targets) > 2)


@given(scenes())
@settings(max_examples=200, deadline=None)
def test_every_word_is_in_the_vocabulary_and_expressions_are_terse(drawn: Scene) -> None:
    texts = [query.expression for query in drawn.queries]
    assert max(len(text.split()) for text in texts) <= 7
    words = {word for text in (*texts, describe(drawn)) for word in text.replace(",", "").split()}
    assert words <= set(VOCABULARY)


def test_every_word_of_the_vocabulary_is_used() -> None:
    config = RefShapesConfig(max_objects=6, max_radius=0.12)
    drawn = [scene(config, 0, split, index) for split in ("train", "testB") for index in range(500)]
    texts = [describe(item) for item in drawn] + [query.expression for item in drawn for query in item.queries]
    used = {word for text in texts for word in text.replace(",", "").split()}
    # Five or six alike are possible, and too rare to wait for; sizes hardly differ in this world.
    assert set(VOCABULARY) - used <= {"five", "six", "four", "small", "big", "smallest", "biggest"}


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_absent_targets_are_hard(drawn: Scene) -> None:
    colors, shapes = {item.color for item in drawn.objects}, {item.shape for item in drawn.objects}
    for query in drawn.queries:
        if query.kind == "none":
            phrase = query.structure.phrase
            assert phrase.color in colors or phrase.shape in shapes
            assert not any(phrase.admits(item) for item in drawn.objects)


def test_sampled_queries_follow_the_weights() -> None:
    rng = np.random.default_rng(0)
    drawn = [scene(CONFIG, 0, "train", index) for index in range(600)]
    kinds = [sample_query(item, rng).kind for item in drawn]
    share = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert share["attribute"] == pytest.approx(0.6, abs=0.08)
    assert share["position"] == pytest.approx(0.13, abs=0.05)
    assert all(0.02 < share[kind] < 0.13 for kind in ("size", "relation", "multiple", "none"))


def test_a_kind_without_weight_is_asked_only_where_nothing_else_can_be() -> None:
    weights = dict.fromkeys(("attribute", "size", "position", "multiple", "none"), 0.0)
    config = RefShapesConfig(expressions={"relation": 1.0, **weights})
    for index in range(100):
        kinds = {query.kind for query in scene(config, 0, "train", index).queries}
        assert len(kinds) == 1


LEFT, MIDDLE, RIGHT = (0.2, 0.5), (0.5, 0.5), (0.8, 0.5)
RED, BLUE, CIRCLE = Phrase("red", None), Phrase("blue", None), Phrase(None, "circle")
TRIO = [Thing("red", "circle", LEFT), Thing("blue", "circle", MIDDLE), Thing("red", "square", RIGHT)]


@pytest.mark.parametrize(
    ("expression", "text", "targets"),
    [
        (Expression(Phrase("red", "circle")), "red circle", (0,)),
        (Expression(RED), "red shape", (0, 2)),
        (Expression(Phrase("blue", "square")), "blue square", ()),
        (Expression(RED, "all"), "all red shapes", (0, 2)),
        (Expression(Phrase(shape="cross"), "all"), "all crosses", ()),
        (Expression(CIRCLE, "leftmost"), "leftmost circle", (0,)),
        (Expression(Phrase(), "rightmost"), "rightmost shape", (2,)),
        (Expression(RED, relation="left of", anchor=BLUE), "red shape left of the blue shape", (0,)),
        (Expression(BLUE, "leftmost"), "leftmost blue shape", None),
        (Expression(CIRCLE, "top"), "circle at the top", None),
        (Expression(CIRCLE, "biggest"), "biggest circle", None),
        (Expression(RED, relation="above", anchor=BLUE), "red shape above the blue shape", ()),
        (Expression(BLUE, relation="left of", anchor=RED), "blue shape left of the red shape", None),
        (Expression(Phrase("red", "circle", "small")), "small red circle", None),
    ],
)
def test_expressions_read_and_resolve(expression: Expression, text: str, targets: tuple[int, ...] | None) -> None:
    assert expression.text() == text
    assert resolve(expression, TRIO) == targets


def test_sizes_too_close_to_call_are_not_called() -> None:
    def pair(radius: float) -> list[Thing]:
        return [Thing("red", "circle", LEFT, 0.1), Thing("blue", "circle", RIGHT, radius)]

    assert resolve(Expression(CIRCLE, "biggest"), pair(0.11)) is None
    assert resolve(Expression(CIRCLE, "biggest"), pair(0.2)) == (1,)
    assert resolve(Expression(CIRCLE, "smallest"), pair(0.2)) == (0,)


def test_places_too_close_to_call_are_not_called() -> None:
    things = [Thing("red", "circle", (0.2, 0.2)), Thing("blue", "circle", (0.25, 0.8))]
    assert resolve(Expression(CIRCLE, "leftmost"), things) is None
    assert resolve(Expression(CIRCLE, "top"), things) == (0,)
    assert resolve(Expression(RED, relation="left of", anchor=BLUE), things) is None
    assert resolve(Expression(RED, relation="above", anchor=BLUE), things) == (0,)


def test_captions_count_what_is_alike() -> None:
    things = [
        Thing("red", "circle"),
        Thing("blue", "star"),
        Thing("blue", "star"),
        Thing("orange", "ring", size="small"),
    ]
    drawn = Scene(np.zeros((1, 1, 3), np.uint8), tuple(things), ())  # type: ignore[arg-type]
    assert describe(drawn) == "a red circle, two blue stars and a small orange ring"
    one = Scene(np.zeros((1, 1, 3), np.uint8), (Thing("orange", "dots"),), ())  # type: ignore[arg-type]
    assert describe(one) == "orange dots"
