"""Descriptions by a model: what it is shown, what it is asked, and which answers are used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from simpleseg_core.annotate import Annotated, Instance
from simpleseg_core.annotate.describe_vlm import VlmDescriber, crop, read_prompt, usable_phrase
from simpleseg_core.config import DescribeConfig
from simpleseg_core.rollout import Completion, Request, Sampling, State


class Scribe:
    """An engine that gives prepared answers and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.requests, self.sampling = answers, list[Request](), list[Sampling]()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        self.requests.extend(requests)
        self.sampling.append(sampling)
        return [[Completion(text, (), True, None)] for text in self.answers]

    def load_weights(self, source: Path | State) -> None: ...

    def close(self) -> None: ...


def _instance(phrase: str, left: int) -> Instance:
    mask = np.zeros((40, 80), bool)
    mask[10:20, left : left + 10] = True
    return Instance(phrase, (left / 80, 0.25, (left + 10) / 80, 0.5), mask)


IMAGE = np.random.default_rng(0).integers(0, 200, (40, 80, 3), np.uint8)
SCENE = Annotated(IMAGE, [_instance("dog", 5), _instance("dog", 60), _instance("cat", 30)])


def test_usable_answers_are_kept_and_others_fall_back_to_the_phrase() -> None:
    engine = Scribe("The brown dog on the left.", "I cannot\nsay", "cat [1, 2]")
    describer = VlmDescriber(engine, DescribeConfig(engine="vlm", model="any", max_tokens=7))
    (described,) = describer.describe([SCENE])
    assert [(item.text, item.source) for item in described] == [
        ("the brown dog on the left", "vlm/any/describe_v1"),
        ("rightmost dog", "caption"),
        ("cat", "caption"),
    ]
    assert engine.sampling == [Sampling(max_tokens=7)]


def test_the_question_names_the_phrase_and_how_many_share_it() -> None:
    engine = Scribe("a", "b", "c")
    VlmDescriber(engine, DescribeConfig(engine="vlm")).describe([SCENE])
    first, _, third = [request.question for request in engine.requests]
    assert '"dog"' in first
    assert '1 more "dog"' in first
    assert "more" not in third
    assert "{" not in first


def test_the_crop_shows_the_outlined_instance_with_its_surroundings() -> None:
    item = SCENE.instances[2]
    shown = crop(IMAGE, item.mask, item.box)
    assert shown.shape == (22, 22, 3)
    outlined = (shown == (255, 0, 255)).all(axis=2)
    assert outlined.sum() == 36  # the rim of ten by ten pixels
    np.testing.assert_array_equal(shown[~outlined], IMAGE[4:26, 24:46][~outlined])


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (' "A red mug, half full." ', "a red mug, half full"),
        ("woman's hat", "woman's hat"),
        ("", None),
        ("<ref>dog</ref>", None),
        ("one two three four five six seven eight nine ten eleven twelve 13 14 15 16 17", None),
    ],
)
def test_only_plain_noun_phrases_are_usable(answer: str, phrase: str | None) -> None:
    assert usable_phrase(answer) == phrase


@pytest.mark.parametrize("name", ["describe_v9", "../prompts/describe_v1", ""])
def test_an_unknown_prompt_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"describe\.prompt: no prompt .*: choose one of describe_v1"):
        read_prompt(name)
