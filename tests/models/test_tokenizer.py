"""The nano tokenizer: one token a digit, known words whole, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.tokenizer import build_tokenizer
from simpleseg_core.refshapes import VOCABULARY

CHAT = architecture("qwen2_5_vl").chat
TOKENIZER = build_tokenizer(VOCABULARY, CHAT)


@given(st.text(max_size=60))
def test_every_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text), skip_special_tokens=False) == text


@given(st.integers(0, 10**9))
def test_a_number_has_one_token_for_each_digit(number: int) -> None:
    assert len(TOKENIZER.encode(str(number))) == len(str(number))


@pytest.mark.parametrize("word", VOCABULARY)
def test_words_of_refshapes_are_whole_tokens(word: str) -> None:
    assert len(TOKENIZER.encode(f" {word}")) == 1


def test_a_point_of_a_polygon_costs_eight_tokens() -> None:
    two, three = (
        len(TOKENIZER.encode(text)) for text in ("[[[123,456],[789,123]]]", "[[[123,456],[789,123],[456,789]]]")
    )
    assert three - two == 8


def test_the_same_words_give_the_same_tokenizer() -> None:
    assert build_tokenizer(VOCABULARY, CHAT).get_vocab() == TOKENIZER.get_vocab()
