"""Conversations -> batches of tensors in which only the answers are learned.

Shapes: B rows, each a conversation or, packed, several; T tokens of the longest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import ProcessorMixin

from simpleseg_core.models.architectures import Architecture, ChatForm
from simpleseg_core.models.chat import chat_text
from simpleseg_core.training.packing import even_rows, pack_rows, packed_inputs
from simpleseg_core.training.samples import Conversation

IGNORE = -100
"""Label of a position that is not learned."""


@dataclass(frozen=True)
class Batch:
    """Inputs of the model's forward pass, each (B, T) but the pixels and the rotary positions of packed rows."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    """(B, T): the token to predict at its own position, `IGNORE` where nothing is learned."""
    first_coordinate: torch.Tensor
    """(B, T) bool: the first digit of the first coordinate of each conversation."""


class Collator:
    """Turns conversations into a right-padded batch, a row each or packed."""

    def __init__(self, processor: ProcessorMixin, max_length: int, family: Architecture, packing: int = 0) -> None:
        """
        Args:
            packing: tokens of a row of several conversations; 0: a row each.
        """
        self._processor, self._max_length, self._packing = processor, max_length, packing
        tokenizer = processor.tokenizer
        self._padding: int = tokenizer.pad_token_id
        self._positions = family.positions
        self._answers = AnswerLabels(tokenizer, family.chat)
        texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
        self._is_digit = torch.tensor([text.isdigit() and text.isascii() for text in texts])
        self._opens = torch.tensor(["[" in text for text in texts])

    def __call__(self, conversations: Sequence[Conversation]) -> Batch:
        """Tokenise, label, and pad or pack.

        Raises:
            ValueError: a conversation is longer than `max_length` tokens, or shows other answers than it has.
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
        labels = torch.stack(
            [self._answers(row, len(item.answers)) for row, item in zip(ids, conversations, strict=True)]
        )
        batch = Batch(inputs, labels, self._first_coordinates(ids, labels))
        return self._packed(batch) if self._packing else batch

    def _packed(self, batch: Batch) -> Batch:
        """The same conversations in rows of several."""
        lengths: list[int] = batch.inputs["attention_mask"].sum(1).tolist()
        rows = even_rows(lengths, self._packing)
        positions = self._positions(self._processor, batch.inputs)
        return Batch(
            packed_inputs(batch.inputs, positions, rows, self._padding),
            pack_rows(batch.labels, lengths, rows, IGNORE),
            pack_rows(batch.first_coordinate, lengths, rows, False),
        )

    def _first_coordinates(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        learned = labels != IGNORE
        digit = self._is_digit[ids] & learned
        after_bracket = torch.zeros_like(digit)
        after_bracket[:, 1:] = self._opens[ids[:, :-1]] & learned[:, :-1]
        starts = digit & after_bracket
        return starts & (starts.cumsum(1) == 1)


class AnswerLabels:
    """Finds the answers in the tokens of a conversation."""

    def __init__(self, tokenizer: Any, chat: ChatForm) -> None:
        self._chat = chat
        self._opening: list[int] = tokenizer.encode(chat.answer_opening, add_special_tokens=False)
        self._end: int = tokenizer.convert_tokens_to_ids(chat.answer_end)

    def __call__(self, ids: torch.Tensor, answers: int) -> torch.Tensor:
        """The tokens (tokens,) between each answer's opening and its end, that included; `IGNORE` elsewhere.

        Raises:
            ValueError: not `answers` answers are found: nothing, or the wrong text, would be learned.
        """
        labels = torch.full_like(ids, IGNORE)
        tokens: list[int] = ids.tolist()
        starts = _occurrences(tokens, self._opening)
        if len(starts) != answers or tokens.count(self._end) < answers:
            raise ValueError(
                f"a conversation of {answers} answers shows {len(starts)} of the form {self._chat.answer_opening!r} "
                f"... {self._chat.answer_end!r}: model.architecture does not fit the chat template of model.base"
            )
        for start in starts:
            end = tokens.index(self._end, start) + 1
            labels[start:end] = ids[start:end]
        return labels


def _occurrences(tokens: list[int], pattern: list[int]) -> list[int]:
    """Positions just behind each occurrence of a pattern."""
    size = len(pattern)
    return [index + size for index in range(len(tokens) - size + 1) if tokens[index : index + size] == pattern]
