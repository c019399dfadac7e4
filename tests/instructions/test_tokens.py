"""Answers are counted in the tokens of the configured model, and an estimate says that it is one."""

import logging
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from simpleseg_core.config import ModelConfig
from simpleseg_core.instructions.compose import length_histogram, length_statistics
from simpleseg_core.instructions.pairs import token_count
from simpleseg_core.instructions.tokens import answer_counter

TEXT = "[[[123,45],[7,8],[900,1000]]]"


def test_the_tokenizer_of_a_checkpoint_counts(repository: Path) -> None:
    base = repository / "checkpoints" / "nano-base"
    counter = answer_counter(ModelConfig(base=str(base)))
    expected = AutoTokenizer.from_pretrained(str(base)).encode(TEXT, add_special_tokens=False)
    assert counter.count(TEXT) == len(expected)
    assert counter.name == f"tokenizer of {base}"


def test_qwen_counts_with_its_own_tokenizer_without_a_network() -> None:
    counter = answer_counter(ModelConfig(base="Qwen/Qwen2.5-VL-7B-Instruct"))
    assert counter.name == "tokenizer of Qwen/Qwen2.5-VL-7B-Instruct"
    assert counter.count("1234") == 4  # one token a digit
    assert counter.count("the horse") == 2


@pytest.mark.parametrize("base", ["scratch", "nobody/no-such-model"])
def test_an_estimate_says_that_it_is_one(base: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        counter = answer_counter(ModelConfig(base=base))
    assert counter.name == f"estimate (no tokenizer for {base})"
    assert counter.count(TEXT) == token_count(TEXT)
    assert "answer lengths are estimates" in caplog.text


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a tokenizer"):
        answer_counter(ModelConfig(base=str(tmp_path)))


def test_lengths_are_summed_up_and_binned() -> None:
    lengths = {"sft": {3: 1, 90: 2, 139: 1}, "pretrain": dict[int, int]()}
    rows = length_histogram(lengths)
    assert rows[0] == {"tokens": "0-9", "sft": 1, "pretrain": 0}
    assert {row["tokens"]: row["sft"] for row in rows if row["sft"]} == {"0-9": 1, "90-99": 2, "130-139": 1}
    assert len(rows) == 14
    found = length_statistics(lengths["sft"], limit=100)
    assert (found["median"], found["max"], found["over_limit"]) == (90, 139, 1)
    assert length_statistics({}, 100)["max"] == 0
