"""Conversations laid one behind the other in rows, so that hardly anything is padded, and none sees another.

Attention is kept apart by positions: where they do not go on by one, transformers begins a new sequence (a
block-diagonal mask with sdpa, lengths of sequences with flash attention).

Shapes: C conversations, T tokens the longest, in R rows, W tokens the longest; positions have an axis in front.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def even_rows(lengths: Sequence[int], width: int) -> list[range]:
    """The indices of conversations in each row, in order: few rows of at most `width` tokens, about equally full.

    A conversation longer than `width` widens the rows to its length.
    """
    longest = max(lengths)
    fewest = len(_starts(lengths, max(width, longest)))
    spare = range(longest, max(width, longest))
    even = longest + bisect_left(spare, True, key=lambda each: len(_starts(lengths, each)) <= fewest)
    return [range(*pair) for pair in pairwise([*_starts(lengths, even), len(lengths)])]


def _starts(lengths: Sequence[int], width: int) -> list[int]:
    """The first conversation of each row when rows are filled one after the other."""
    starts, room = list[int](), 0
    for index, length in enumerate(lengths):
        if length > room:
            starts.append(index)
            room = width
        room -= length
    return starts


def pack_rows(padded: Tensor, lengths: Sequence[int], rows: Sequence[range], fill: int) -> Tensor:
    """Right-padded (C, T) -> (R, W)."""
    return pad_sequence([torch.cat([padded[i, : lengths[i]] for i in row]) for row in rows], True, fill)


def packed_positions(positions: Tensor, lengths: Sequence[int], rows: Sequence[range]) -> Tensor:
    """Rotary positions of each conversation by itself (axes, C, T) -> those of rows, (1 + axes, R, W): in front of the
    axes the place in the conversation, by which attention is kept apart."""
    places = torch.arange(positions.shape[2]).expand(1, *positions.shape[1:])
    return torch.stack([pack_rows(axis, lengths, rows, 0) for axis in torch.cat([places, positions])])


def packed_inputs(
    inputs: Mapping[str, Tensor], positions: Tensor, rows: Sequence[range], padding: int
) -> dict[str, Tensor]:
    """Inputs of right-padded conversations -> of rows; what belongs to images stays, for their order does."""
    ids, lengths = inputs["input_ids"], inputs["attention_mask"].sum(1).tolist()
    packed = {
        name: pack_rows(value, lengths, rows, padding if name == "input_ids" else 0)
        if value.shape == ids.shape
        else value
        for name, value in inputs.items()
        if name != "attention_mask"
    }
    return packed | {"position_ids": packed_positions(positions, lengths, rows)}
