"""The page of a step's rollouts: complete in itself, small, and nothing that an answer says runs in it."""

import re

import numpy as np
import pytest

from simpleseg_core.data.shards import ImageStore, encode_jpeg, write_shard
from simpleseg_core.report.rollouts import render_rollouts
from tests.training.rollouts import HOSTILE, table


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("data")
    noise = np.random.default_rng(0).integers(0, 255, (640, 640, 3), dtype=np.uint8)
    write_shard([(f"p{index}.jpg", encode_jpeg(noise)) for index in range(3)], root / "images" / "rl.tar")
    return render_rollouts(table(), ImageStore(root))


def test_every_answer_is_drawn_over_its_prompts_image_which_is_there_once(page: str) -> None:
    assert page.count("<figure") == 9
    assert page.count("data:image/jpeg") == 3
    assert page.count('class="prediction"') == 3, "the others are unreadable, or empty"
    assert 'd="M0 0L80 0L80 160L0 160Z"' in page, "the outline in pixels of the picture"
    assert len(page) < 100_000, "pictures are shrunk"


def test_the_worst_prompt_is_first(page: str) -> None:
    assert re.findall(r"<q>shape (\d)", page) == ["2", "1", "0"]


def test_nothing_runs_and_nothing_is_fetched(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=" in page
    assert not re.search(r"<script|<img|\bhttps?:", page)


def test_what_went_wrong_and_the_ratio_are_named(page: str) -> None:
    assert page.count("cut off") == 3
    assert "ratio 1.30000" in page
    assert page.count("too alike to teach") == 1
