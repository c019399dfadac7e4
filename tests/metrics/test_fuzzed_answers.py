"""Whatever a model says is scored: nothing raises, and no answer costs more than its length and its outline.

`SIMPLESEG_FUZZ=1000000 pytest tests/metrics/test_fuzzed_answers.py` tries so many answers; a slow or failing one is
named by its number, which is its seed.
"""

import os
import time
from random import Random

import numpy as np
import pytest

from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.geometry import Rle, encode_rle, polygons_to_mask
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.kinds import REWARD_TERMS
from simpleseg_core.metrics import score_sample
from simpleseg_core.rewards import RewardFunction

ANSWERS = int(os.environ.get("SIMPLESEG_FUZZ", "150"))
MOST_SECONDS = 1.0
"""Processor time for one answer of a few hundred characters, on an image of twelve million pixels."""
PIECES = ["[", "]", "0", "1", "1000", "999999", "-5", "0.5", "1e9", "[0,0]", "[1,1]", "{", "}", '"', "polygon", ", "]
REWARDS = RewardFunction(RewardConfig(weights=dict.fromkeys(REWARD_TERMS.names(), 1.0)))


def fuzzed(seed: int) -> str:
    """An answer: polygons in either style, polygons with characters broken, or pieces of the grammar in any order."""
    random = Random(seed)
    if seed % 3 == 0:
        return "[" + "".join(random.choice(PIECES) + random.choice([",", "", " "]) for _ in range(random.randrange(40)))
    wide = [[[random.random(), random.random()] for _ in range(random.randrange(3, 20))] for _ in range(seed % 4)]
    unit = [[[round(x, 3), round(y, 3)] for x, y in polygon] for polygon in wide]
    letters = list(str(unit) if random.random() < 0.5 else str([[[int(1000 * v) for v in p] for p in q] for q in unit]))
    for _ in range(random.randrange(1 + 4 * (seed % 3))):
        letters[random.randrange(len(letters))] = random.choice('[]0123456789.,- e{}"')
    return "".join(letters)


@pytest.fixture(scope="module")
def truths() -> list[Rle]:
    """A photograph of twelve million pixels, one of COCO's size, a thumbnail; a star, and one without a target."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    star = np.stack([0.4 + 0.3 * np.cos(turn) * (1 + np.arange(40) % 2), 0.5 + 0.2 * np.sin(turn)], axis=1)
    masks = [polygons_to_mask([star], *size) for size in ((3000, 4000), (480, 640), (48, 64))]
    return [*map(encode_rle, masks), encode_rle(np.zeros((480, 640), bool))]


def test_any_answer_is_scored_and_none_takes_long(truths: list[Rle]) -> None:
    score_sample("[[[100,100],[900,100],[500,900]]]", truths[2])  # compiles
    for seed in range(ANSWERS):
        text, truth = fuzzed(seed), truths[seed % 10 % len(truths)]
        start = time.process_time()
        score, reward = score_sample(text, truth), REWARDS([text], [truth])
        seconds = time.process_time() - start
        assert 0 <= score.iou <= 1 and 0 <= reward.total[0] <= 1, (seed, text)
        assert reward.failed == 0, (seed, text)
        assert seconds < MOST_SECONDS, (seed, seconds, text)


def test_a_hundred_characters_do_not_cost_the_area_of_a_photograph(truths: list[Rle]) -> None:
    answer = "[[[123,456],[500,250],[1000,0],[0,7]],[[1,2],[3,4],[5,6]]]"
    score_sample(answer, truths[2])
    truth = encode_rle(np.ones((5760, 7680), bool))
    start = time.process_time()
    score_sample(answer, truth)
    assert time.process_time() - start < MOST_SECONDS


def test_an_answer_of_thousands_of_crossing_edges_is_drawn(truths: list[Rle]) -> None:
    zigzag = [[1 + 999 * (i % 2), i * 7919 % 1000] for i in range(9_000)]
    start = time.process_time()
    assert score_sample(str([zigzag]), truths[1]).points == 9_000
    assert time.process_time() - start < 5


def test_an_answer_of_more_points_than_can_be_meant_is_refused() -> None:
    parsed = parse_polygons(str([[[i % 1000, i * i % 1000] for i in range(10_001)]]))
    assert parsed.polygons == [] and parsed.error and "10,000 points" in parsed.error
