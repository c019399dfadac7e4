"""Turns about an image: every task asks and answers what the scene shows."""

import json
import re
from collections.abc import Mapping
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.config import ContourConfig, DatasetConfig, RefShapesConfig, Task
from simpleseg_core.geometry import polygons_mask_iou
from simpleseg_core.grammar import parse_box, parse_polygons
from simpleseg_core.instructions.labels import Labels, Reference, Target, mask_target
from simpleseg_core.instructions.pairs import draw_turns, polygon_answer, token_count, visit_references
from simpleseg_core.instructions.scenes import scene_labels, scene_turns
from simpleseg_core.refshapes import Scene, scene

DATASET = DatasetConfig(template_variety=1)
CONTOUR = ContourConfig(tolerance=0.01)
WORLD = RefShapesConfig()
TASKS: tuple[Task, ...] = get_args(Task)


def _turns(
    drawn: Scene, *tasks: Task, count: int = 8, seed: int = 0, dataset: DatasetConfig = DATASET
) -> list[tuple[str, str]]:
    weights: Mapping[Task, float] = dict.fromkeys(tasks, 1.0)
    turns = scene_turns(drawn, weights, dataset, CONTOUR, np.random.default_rng(seed), count)
    return [(turn.question, turn.answer) for turn in turns]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(WORLD, 11, "testB", index) for index in range(12)]


def test_outlines_rebuild_the_masks_of_the_queries(scenes: list[Scene]) -> None:
    ious = []
    for drawn in scenes:
        truth = {f"outline of {query.expression}": query for query in drawn.queries}
        for asked, said in _turns(drawn, "text->mask"):
            parsed = parse_polygons(said, strict=True)
            assert parsed.error is None
            assert (said == "[]") == (not truth[asked].targets)
            ious.append(polygons_mask_iou(parsed.polygons, truth[asked].mask))
    assert np.mean(ious) > 0.93


def test_points_and_boxes_are_those_of_all_targets(scenes: list[Scene]) -> None:
    for drawn in scenes:
        truth = {query.expression: query for query in drawn.queries}
        for asked, said in _turns(drawn, "text->point"):
            targets = truth[asked.removeprefix("point at ")].targets
            points = np.array(json.loads(said)).reshape(-1, 2) / 1000
            hit = [
                np.flatnonzero([drawn.objects[i].mask[int(y * 96), int(x * 96)] for i in targets]) for x, y in points
            ]
            assert sorted(int(index[0]) for index in hit) == list(range(len(targets)))
        for asked, said in _turns(drawn, "text->bbox"):
            boxes = [drawn.objects[i].box for i in truth[asked.removeprefix("box of ")].targets]
            np.testing.assert_allclose(
                sorted(parse_box(said, strict=True).boxes.tolist()), sorted(boxes) or np.empty(0), atol=6e-4
            )


def test_what_is_at_a_point_in_a_box_or_in_an_outline_is_named(scenes: list[Scene]) -> None:
    for drawn in scenes:
        names = {f"{item.color} {item.shape}": item for item in drawn.objects}
        for asked, said in _turns(drawn, "point->text"):
            x, y = (int(number) / 1000 for number in re.findall(r"\d+", asked))
            assert names[said].color
            assert any(
                item.mask[int(y * 96), int(x * 96)] for item in drawn.objects if said == f"{item.color} {item.shape}"
            )
        assert all(said in names for _, said in _turns(drawn, "bbox->text", "mask->text"))


def test_the_caption_reads_from_left_to_right_and_locate_says_where(scenes: list[Scene]) -> None:
    for drawn in scenes:
        ordered = sorted(drawn.objects, key=lambda item: item.box[0] + item.box[2])
        ((_, caption),) = _turns(drawn, "caption")
        assert caption == ", ".join(f"{item.color} {item.shape}" for item in ordered)
        ((_, located),) = _turns(drawn, "locate")
        assert [part.rpartition(" ")[0] for part in located.split(", ")] == caption.split(", ")
        assert located.count("[") == len(ordered)


def test_counts_are_right_and_sometimes_zero(scenes: list[Scene]) -> None:
    counts: list[int] = []
    for drawn in scenes:
        for asked, said in _turns(drawn, "count"):
            words = asked.removeprefix("how many ").split()
            matching = [
                item for item in drawn.objects if words[0] in (item.color, "shapes") or words[0].startswith(item.shape)
            ]
            assert int(said) == len(matching)
            counts.append(int(said))
    assert min(counts) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 500), st.integers(1, 6), st.sets(st.sampled_from(TASKS), min_size=1))
def test_turns_are_distinct_bounded_of_the_tasks_asked_for_and_repeatable(
    index: int, count: int, tasks: set[Task]
) -> None:
    drawn = scene(WORLD, 5, "train", index)
    weights: dict[Task, float] = {task: 1.0 for task in TASKS if task in tasks}
    first, again = [
        scene_turns(drawn, weights, DATASET, CONTOUR, np.random.default_rng(index), count) for _ in range(2)
    ]
    assert first == again
    assert 1 <= len(first) <= count
    assert {turn.task for turn in first} <= tasks
    assert len({turn.question for turn in first}) == len(first)


def test_tasks_follow_their_weights() -> None:
    weights: dict[Task, float] = {"text->point": 3, "caption": 1, "count": 0}
    rng = np.random.default_rng(0)
    drawn = [
        scene_turns(scene(WORLD, 0, "train", index), weights, DATASET, CONTOUR, rng, 1)[0].task for index in range(300)
    ]
    assert 0.68 < drawn.count("text->point") / 300 < 0.82
    assert "count" not in drawn


def test_a_task_that_the_image_cannot_serve_is_never_drawn() -> None:
    labels = Labels([mask_target("dog", np.ones((4, 4), bool))], [])
    turns = draw_turns(
        labels, {"text->mask": 9, "count": 9, "caption": 1}, DATASET, CONTOUR, np.random.default_rng(0), 3
    )
    assert [(turn.task, turn.answer) for turn in turns] == [("caption", "dog")]
    assert draw_turns(labels, {"text->mask": 1}, DATASET, CONTOUR, np.random.default_rng(0), 3) == []


def test_every_expression_is_visited_once() -> None:
    drawn = scene(WORLD, 1, "train", 4)
    rng = np.random.default_rng(0)
    labels = scene_labels(drawn, rng)
    packs = list(
        visit_references(labels, {"text->mask": 1}, DatasetConfig(template_variety=1, max_turns=2), CONTOUR, rng)
    )
    assert all(1 <= len(pack) <= 2 for pack in packs)
    asked = sorted(turn.question for pack in packs for turn in pack)
    assert asked == sorted(f"outline of {query.expression}" for query in drawn.queries)


def test_a_long_answer_gets_a_coarser_outline_not_a_cut_one() -> None:
    rows, columns = np.mgrid[:128, :128] - 63.5
    blob = np.hypot(rows, columns) < 40 + 15 * np.sin(9 * np.arctan2(rows, columns))
    targets = [mask_target("flower", blob)]
    short = DatasetConfig(max_answer_tokens=150)
    fine, coarse = (
        polygon_answer(targets, config, ContourConfig(tolerance=0.002)) for config in (DatasetConfig(), short)
    )
    assert token_count(coarse) <= 150 < token_count(fine)
    parsed = parse_polygons(coarse, strict=True)
    assert parsed.error is None
    assert 0.7 < polygons_mask_iou(parsed.polygons, blob) < polygons_mask_iou(parse_polygons(fine).polygons, blob)


def test_given_polygons_are_said_as_they_are() -> None:
    triangle = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.8]])
    target = Target("dog", np.ones((8, 8), bool), (0, 0, 1, 1), (0.5, 0.5), [triangle])
    labels = Labels([target], [Reference("dog", (0,)), Reference("cat", ())])
    rng = np.random.default_rng(0)
    answers = {
        turn.question: turn.answer
        for pack in visit_references(labels, {"text->mask": 1}, DATASET, CONTOUR, rng)
        for turn in pack
    }
    assert answers == {"outline of dog": "[[[100,100],[900,100],[500,800]]]", "outline of cat": "[]"}


def test_the_published_grammar_wraps_its_answers() -> None:
    dataset = DatasetConfig(style="unit", published_templates=True)
    said = [answer for _, answer in _turns(scene(WORLD, 0, "train", 0), "text->mask", dataset=dataset)]
    assert all(answer.endswith(".") and ("0." in answer or "[]" in answer) for answer in said)


@pytest.mark.parametrize(
    ("text", "tokens"), [("[[[123,45]]]", 8), ("red circle", 2), ("[]", 1), ("", 0), ("[1,20],[3,4]", 10)]
)
def test_tokens_are_counted_by_digits_words_and_punctuation(text: str, tokens: int) -> None:
    assert token_count(text) == tokens
