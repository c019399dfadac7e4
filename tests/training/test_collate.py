"""Batches: answers alone are learned, whatever the padding."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from simpleseg_core.models import load_processor
from simpleseg_core.training.collate import IGNORE, Collator, Conversation
from tests.tiny import TINY

IMAGE = Image.new("RGB", (96, 96), "blue")
ONE = Conversation(IMAGE, ("outline of red circle",), ("[[[10,20],[30,40],[50,60]]]",))
TWO = Conversation(IMAGE, ("what is here", "point at blue star"), ("red circle, blue star", "[123,456]"))


@pytest.fixture(scope="module")
def collate(tiny_checkpoint: Path) -> Collator:
    return Collator(load_processor(tiny_checkpoint, TINY), max_length=256)


@pytest.fixture(scope="module")
def decode(tiny_checkpoint: Path) -> object:
    return load_processor(tiny_checkpoint, TINY).tokenizer.decode


def learned(collate: Collator, decode: object, *conversations: Conversation) -> list[str]:
    batch = collate(conversations)
    return [decode(row[row != IGNORE]) for row in batch.labels]  # type: ignore[operator]


def test_exactly_the_answers_and_their_ends_are_learned(collate: Collator, decode: object) -> None:
    assert learned(collate, decode, ONE, TWO) == [
        "[[[10,20],[30,40],[50,60]]]<|im_end|>",
        "red circle, blue star<|im_end|>[123,456]<|im_end|>",
    ]


def test_padding_changes_nothing(collate: Collator) -> None:
    alone, together = collate([ONE]), collate([TWO, ONE])
    size = alone.labels.shape[1]
    row = 1
    assert torch.equal(together.labels[row, :size], alone.labels[0])
    assert (together.labels[row, size:] == IGNORE).all()
    assert not together.inputs["attention_mask"][row, size:].any()


def test_a_label_is_the_token_at_its_place(collate: Collator) -> None:
    batch = collate([ONE, TWO])
    kept = batch.labels != IGNORE
    assert torch.equal(batch.labels[kept], batch.inputs["input_ids"][kept])


def test_the_first_coordinate_is_one_digit_of_each_conversation(collate: Collator, decode: object) -> None:
    batch = collate([ONE, TWO])
    assert batch.first_coordinate.sum(1).tolist() == [1, 1]
    assert [decode(token) for token in batch.inputs["input_ids"][batch.first_coordinate]] == ["1", "1"]  # type: ignore[operator]


def test_a_conversation_that_is_too_long_is_refused_with_a_cure(tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="max_length"):
        Collator(load_processor(tiny_checkpoint, TINY), max_length=20)([ONE])
