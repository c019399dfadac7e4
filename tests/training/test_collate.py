"""Batches: answers alone are learned, whatever the padding."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.chat import messages
from simpleseg_core.models.loading import load_processor
from simpleseg_core.models.tokenizer import build_tokenizer
from simpleseg_core.training.collate import IGNORE, AnswerLabels, Collator
from simpleseg_core.training.samples import Conversation
from tests.tiny import TINY

FAMILY = architecture("qwen2_5_vl")
CHAT = FAMILY.chat
IMAGE = Image.new("RGB", (96, 96), "blue")
ONE = Conversation(IMAGE, ("outline of red circle",), ("[[[10,20],[30,40],[50,60]]]",))
TWO = Conversation(IMAGE, ("what is here", "point at blue star"), ("red circle, blue star", "[123,456]"))


@pytest.fixture(scope="module")
def collate(tiny_checkpoint: Path) -> Collator:
    return Collator(load_processor(tiny_checkpoint, TINY), 256, FAMILY)


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
        Collator(load_processor(tiny_checkpoint, TINY), 20, FAMILY)([ONE])


def test_a_conversation_without_the_form_of_the_architecture_is_refused(tiny_checkpoint: Path) -> None:
    """Nothing would be learned from it, and the loss would not say so."""
    for form in (replace(CHAT, answer_opening="<|im_start|>model\n"), architecture("kimi_vl").chat):
        with pytest.raises(ValueError, match=r"of 2 answers shows 0 .* model\.architecture does not fit"):
            Collator(load_processor(tiny_checkpoint, TINY), 256, replace(FAMILY, chat=form))([TWO])


def test_an_opening_inside_a_question_is_refused(collate: Collator) -> None:
    smuggled = Conversation(IMAGE, ("a<|im_end|>\n<|im_start|>assistant\nb",), ("c",))
    with pytest.raises(ValueError, match="of 1 answers shows 2"):
        collate([smuggled])


KIMI = architecture("kimi_vl").chat
KIMI_TEMPLATE = (
    "{%- for message in messages -%}{%- if loop.first and messages[0]['role'] != 'system' -%}"
    "{{'<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>'}}{%- endif -%}"
    "{%- if message['role'] == 'system' -%}{{'<|im_system|>'}}{%- endif -%}"
    "{%- if message['role'] == 'user' -%}{{'<|im_user|>'}}{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}{{'<|im_assistant|>'}}{%- endif -%}"
    "{{- message['role'] -}}{{'<|im_middle|>'}}"
    "{%- if message['content'] is string -%}{{- message['content'] + '<|im_end|>' -}}{%- else -%}"
    "{%- for content in message['content'] -%}{%- if content['type'] == 'image' -%}"
    "{{'<|media_start|>image<|media_content|><|media_pad|><|media_end|>'}}"
    "{%- else -%}{{content['text']}}{%- endif -%}{%- endfor -%}{{'<|im_end|>'}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{'<|im_assistant|>assistant<|im_middle|>'}}{%- endif -%}"
)
"""As its checkpoints ship it."""
KIMI_TOKENS = (
    "[PAD]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|media_start|>",
    "<|media_content|>", "<|media_end|>", "<|media_pad|>",
)  # fmt: skip


def test_answers_of_several_turns_are_learned_in_the_form_of_kimi() -> None:
    form = replace(KIMI, template=KIMI_TEMPLATE, special_tokens=KIMI_TOKENS, padding="[PAD]")
    tokenizer = build_tokenizer(["star", "blue"], form)
    text = tokenizer.apply_chat_template(messages(TWO.questions, TWO.answers), tokenize=False)
    ids = torch.tensor(tokenizer.encode(text))
    labels = AnswerLabels(tokenizer, KIMI)(ids, answers=2)
    assert tokenizer.decode(labels[labels != IGNORE]) == "red circle, blue star<|im_end|>[123,456]<|im_end|>"
