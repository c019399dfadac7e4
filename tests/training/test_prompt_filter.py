"""RL draws from prompts that the SFT model neither solves nor always fails."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.config import PromptFilterConfig
from simpleseg_core.geometry import encode_rle
from simpleseg_core.training.prompt_filter import answer_iou, pass_rates, select_prompts

RATES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=30)


@given(rates=RATES, bounds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_exactly_the_prompts_within_the_bounds_are_kept(rates: list[float], bounds: list[float]) -> None:
    settings = PromptFilterConfig(min_pass=bounds[0], max_pass=bounds[1])
    inside = [index for index, rate in enumerate(rates) if bounds[0] <= rate <= bounds[1]]
    if not inside:
        with pytest.raises(ValueError, match=r"rl\.prompt_filter leaves none of .* rl\.prompt_filter\.enabled=false"):
            select_prompts(rates, settings)
        return
    selection = select_prompts(rates, settings)
    assert selection.kept == inside
    assert len(inside) + selection.hopeless + selection.solved == len(rates)


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="min_pass is above max_pass"):
        PromptFilterConfig(min_pass=0.8, max_pass=0.2)


HALF = np.zeros((10, 10), bool)
HALF[:, :5] = True


@pytest.mark.parametrize(
    ("text", "mask", "iou"),
    [
        ("[[[0,0],[500,0],[500,1000],[0,1000]]]", HALF, 1),
        ("[[[0,0],[1000,0],[1000,1000],[0,1000]]]", HALF, 0.5),
        ("[]", HALF, 0),
        ("[]", np.zeros((10, 10), bool), 1),
        ("nonsense", np.zeros((10, 10), bool), 0),
    ],
)
def test_an_answer_is_worth_its_iou_and_nothing_when_unreadable(text: str, mask: np.ndarray, iou: float) -> None:
    assert answer_iou(text, encode_rle(mask)) == pytest.approx(iou)


def test_zeros_and_ones_are_read_in_the_style_asked_for() -> None:
    everything, text = encode_rle(np.ones((10, 10), bool)), "[[[0,0],[1,0],[1,1],[0,1]]]"
    assert answer_iou(text, everything, "unit") == 1
    assert answer_iou(text, everything, "permille") == 0


def _rows(count: int) -> list[dict[str, Any]]:
    return [{"height": 10, "width": 10, "rle_counts": encode_rle(HALF)["counts"], "number": i} for i in range(count)]


class _Answers:
    """Prompt i is answered rightly i times out of four."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, rows: Sequence[Mapping[str, Any]], first: int) -> list[list[str]]:
        assert rows[0]["number"] == first
        self.asked += [row["number"] for row in rows]
        right, wrong = "[[[0,0],[500,0],[500,1000],[0,1000]]]", "[]"
        return [[right if i < row["number"] % 5 else wrong for i in range(4)] for row in rows]


def test_rates_are_saved_and_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simpleseg_core.training.prompt_filter._CHUNK", 3)
    state, rows = tmp_path / "work" / "pass_rates.json", _rows(8)
    whole = pass_rates(rows, _Answers(), 0.5, state, "a")
    assert whole == [0, 0.25, 0.5, 0.75, 1, 0, 0.25, 0.5]
    state.write_text(json.dumps({"mark": "a", "rates": whole[:6]}))
    rest = _Answers()
    assert pass_rates(rows, rest, 0.5, state, "a") == whole
    assert rest.asked == [6, 7]
    other = _Answers()
    assert pass_rates(rows, other, 0.5, state, "another model") == whole
    assert other.asked == list(range(8))
