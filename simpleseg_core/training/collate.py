"""Conversations -> batches of tensors in which only the answers are learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import ProcessorMixin

from simpleseg_core.models.chat import chat_text

IGNORE = -100
"""Label of a position that is not learned."""

_ANSWER_OPENINGS = ("<|im_start|>assistant\n", "<|im_assistant|>assistant<|im_middle|>")
"""How an answer opens in the chat formats of Qwen and Kimi."""


@dataclass(frozen=True)
class Conversation:
    """One image with questions and their answers."""

    image: Image.Image
    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Inputs of the model's forward pass, each (batch, tokens) but the pixels."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    """(batch, tokens): the token to predict at its own position, `IGNORE` where nothing is learned."""
    first_coordinate: torch.Tensor
    """(batch, tokens) bool: the first digit of the first coordinate of each conversation."""


class Collator:
    """Turns conversations into a right-padded batch."""

    def __init__(self, processor: ProcessorMixin, max_length: int) -> None:
        self._processor, self._max_length = processor, max_length
        tokenizer = processor.tokenizer
        self._openings = [
            tokenizer.encode(text, add_special_tokens=False) for text in _ANSWER_OPENINGS if _is_known(tokenizer, text)
        ]
        self._end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
        self._is_digit = torch.tensor([text.isdigit() and text.isascii() for text in texts])
        self._opens = torch.tensor(["[" in text for text in texts])

    def __call__(self, conversations: Sequence[Conversation]) -> Batch:
        """Tokenise, pad and label.

        Raises:
            ValueError: a conversation is longer than `max_length` tokens.
        """
        texts = [chat_text(self._processor, item.questions, item.answers) for item in conversations]
        encoded = self._processor(
            text=texts, images=[item.image for item in conversations], padding=True, return_tensors="pt"
        )
        inputs: dict[str, Any] = dict(encoded)
        ids = inputs["input_ids"]
        if ids.shape[1] > self._max_length:
            raise ValueError(
                f"a conversation has {ids.shape[1]} tokens, more than max_length {self._max_length}: "
                "raise the stage's max_length, or lower dataset.max_turns or contour.max_points"
            )
        labels = torch.stack([self._labels(row) for row in ids])
        return Batch(inputs, labels, self._first_coordinates(ids, labels))

    def _labels(self, ids: torch.Tensor) -> torch.Tensor:
        """Keep the tokens between an answer's opening and its end-of-turn token, that token included."""
        labels = torch.full_like(ids, IGNORE)
        tokens: list[int] = ids.tolist()
        for opening in self._openings:
            for start in _occurrences(tokens, opening):
                end = tokens.index(self._end, start) + 1
                labels[start:end] = ids[start:end]
        return labels

    def _first_coordinates(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        learned = labels != IGNORE
        digit = self._is_digit[ids] & learned
        after_bracket = torch.zeros_like(digit)
        after_bracket[:, 1:] = self._opens[ids[:, :-1]] & learned[:, :-1]
        starts = digit & after_bracket
        return starts & (starts.cumsum(1) == 1)


def _occurrences(tokens: list[int], pattern: list[int]) -> list[int]:
    """Positions just behind each occurrence of a pattern."""
    size = len(pattern)
    return [index + size for index in range(len(tokens) - size + 1) if tokens[index : index + size] == pattern]


def _is_known(tokenizer: Any, text: str) -> bool:
    special = text[: text.index("|>") + 2]
    return special in tokenizer.get_vocab()
