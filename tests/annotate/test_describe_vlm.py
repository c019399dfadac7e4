"""Descriptions by a model: what it is shown, what it is asked, and which answers are used."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from simpleseg_core.annotate import Annotated, Instance, build_describer
from simpleseg_core.annotate.describe_vlm import NOUN_PHRASE, VlmDescriber, crop, read_prompt, usable_phrase
from simpleseg_core.annotate.shapes import ShapeDetector
from simpleseg_core.config import DescribeConfig, DetectConfig, RefShapesConfig
from simpleseg_core.refshapes import scene
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
    describer = VlmDescriber(engine, DescribeConfig(engine="vlm", model="any", max_tokens=7), None)
    (described,) = describer.describe([SCENE])
    assert [(item.text, item.source) for item in described] == [
        ("the brown dog on the left", "vlm/any/describe_v1"),
        ("rightmost dog", "caption"),
        ("cat", "caption"),
    ]
    assert [item.rejected for item in described] == ["", "unusable", "unusable"]
    assert engine.sampling == [Sampling(max_tokens=7, regex=NOUN_PHRASE)]


def _three_colours() -> tuple[Annotated, list[Instance]]:
    """A RefShapes scene of three objects of different colours, as the describer gets it."""
    scenes = (scene(RefShapesConfig(), 0, "train", index) for index in range(100))
    drawn = next(item for item in scenes if len(item.objects) == len({shape.color for shape in item.objects}) == 3)
    instances = [Instance(f"{item.color} {item.shape}", item.box, item.mask) for item in drawn.objects]
    return Annotated(drawn.image, instances), instances


def test_a_description_is_kept_if_the_detector_finds_the_instance_by_it() -> None:
    drawn, instances = _three_colours()
    first = instances[0].phrase
    config = DescribeConfig(engine="vlm", model="any", min_consistency=0.5)
    describer = VlmDescriber(Scribe(f"the {first}", first, "something nice"), config, ShapeDetector(0.35))
    (described,) = describer.describe([drawn])
    assert [item.text for item in described] == [f"the {first}", instances[1].phrase, instances[2].phrase]
    assert [item.rejected for item in described] == ["", "inconsistent", "inconsistent"]
    consistencies = [item.consistency for item in described]
    assert consistencies[0] is not None and consistencies[0] > 0.9
    assert consistencies[1] is not None and consistencies[1] < 0.5
    assert consistencies[2] == 0


def test_a_prompt_with_a_box_shows_the_whole_image() -> None:
    engine = Scribe("a", "b", "c")
    VlmDescriber(engine, DescribeConfig(engine="vlm", prompt="grounded_v1"), None).describe([SCENE])
    assert engine.requests[0].question == "what is in [62,250,188,500]"
    np.testing.assert_array_equal(np.asarray(engine.requests[0].image), IMAGE)


def test_a_detector_that_looks_at_no_text_checks_none() -> None:
    with pytest.raises(ValueError, match=r"describe\.min_consistency: detect\.engine is annotations"):
        build_describer(DescribeConfig(engine="vlm"), DetectConfig(engine="annotations"))


@pytest.mark.parametrize("answer", ["dog", "the brown dog's collar, left of 2 cats"])
def test_what_decoding_is_held_to_is_usable(answer: str) -> None:
    assert re.fullmatch(NOUN_PHRASE, answer)
    assert usable_phrase(answer) == answer
    assert not re.fullmatch(NOUN_PHRASE, f"[{answer}]")


def test_the_question_names_the_phrase_and_how_many_share_it() -> None:
    engine = Scribe("a", "b", "c")
    VlmDescriber(engine, DescribeConfig(engine="vlm"), None).describe([SCENE])
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
    with pytest.raises(ValueError, match=r"describe\.prompt: no prompt .*: choose one of describe_v1, grounded_v1"):
        read_prompt(name)
    with pytest.raises(ValueError, match="did you mean `grounded_v1`"):
        read_prompt("grounded_v2")
