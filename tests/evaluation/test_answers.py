"""Scoring of answers as they come from an engine."""

from typing import Any

import numpy as np
import pytest

from simpleseg_core.evaluation.answers import Answer, score_answer
from simpleseg_core.geometry import encode_rle
from simpleseg_core.rollout import Completion


def prompt(mask: np.ndarray) -> dict[str, Any]:
    return {"height": mask.shape[0], "width": mask.shape[1], "rle_counts": encode_rle(mask)["counts"], "sample": "7"}


LEFT = np.zeros((10, 20), bool)
LEFT[:, :10] = True
EMPTY = np.zeros((10, 20), bool)


@pytest.mark.parametrize(
    ("mask", "answer", "iou", "valid"),
    [
        (LEFT, "[[[0,0],[500,0],[500,1000],[0,1000]]]", 1.0, True),
        (LEFT, "It is at [[[0,0],[1000,0],[1000,1000],[0,1000]]].", 0.5, True),
        (LEFT, "[]", 0.0, True),
        (LEFT, "nowhere", 0.0, False),
        (EMPTY, "[]", 1.0, True),
        (EMPTY, "nowhere", 0.0, False),
    ],
)
def test_iou_and_validity(mask: np.ndarray, answer: str, iou: float, valid: bool) -> None:
    row = score_answer(prompt(mask), "sft", Answer(answer, 1))
    assert row["iou"] == iou
    assert row["valid"] is valid
    assert (row["error"] is None) is valid
    assert (row["sample"], row["model"], row["answer"]) == ("7", "sft", answer)


@pytest.mark.parametrize(("finished", "tokens"), [(True, 3), (False, 4)])
def test_the_stop_token_is_not_part_of_the_answer(finished: bool, tokens: int) -> None:
    answer = Answer.of(Completion("[]", (1, 2, 3, 4), finished, None))
    assert score_answer(prompt(LEFT), "sft", answer)["tokens"] == tokens


def test_zeros_and_ones_are_read_in_the_style_asked_for() -> None:
    corners = Answer("[[[0,0],[1,0],[1,1],[0,1]]]")
    everything = prompt(np.ones((10, 20), bool))
    assert score_answer(everything, "sft", corners, "unit")["iou"] == 1
    assert score_answer(everything, "sft", corners, "permille")["iou"] == 0
