"""What a run is measured on while it learns and never learns from: conversations for the loss, queries for gIoU."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from simpleseg_core.data.outlines import row_rle
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.grammar import Style
from simpleseg_core.metrics import score_sample
from simpleseg_core.rollout import Generator, Request, Sampling
from simpleseg_core.training.collate import IGNORE, Batch, Collator
from simpleseg_core.training.loss import answer_losses
from simpleseg_core.training.run import HeldOut
from simpleseg_core.training.samples import Samples

_AT_ONCE = 16
"""Queries answered together by a worker."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which of several workers measures what; all take as many steps, for a sharded model is run by all at once."""

    rank: int
    world_size: int
    sharded: bool

    def indices(self, count: int) -> list[tuple[int, bool]]:
        """This worker's indices, and whether each counts or only keeps it busy."""
        rounds = range(self.rank, -(-count // self.world_size) * self.world_size, self.world_size)
        return [(index % count, index < count) for index in rounds] if count else []

    def mean(self, total: float, count: float, device: torch.device) -> float:
        """Over all workers."""
        values = torch.tensor([total, count], dtype=torch.float64, device=device)
        if self.world_size > 1:
            dist.all_reduce(values)
        return float(values[0] / values[1].clamp(min=1))


def held_out_loss(
    samples: Samples,
    count: int,
    model: nn.Module,
    plain: PreTrainedModel,
    collate: Collator,
    size: int,
    chunk: int,
    share: Share,
) -> float:
    """Mean loss of an answer token of the held-out conversations. All workers call it.

    Args:
        samples: of which so many are held out.
        size: conversations in one forward pass.
        chunk: as of `answer_losses`.
    """
    total, tokens, device = 0.0, 0, plain.device
    for part in _chunks(share.indices(count), size):
        batch = _counting(collate([samples.held(index) for index, _ in part]), [own for _, own in part])
        losses = _losses(batch, model, plain, chunk, device)
        total, tokens = total + float(losses.sum()), tokens + len(losses)
    return share.mean(total, tokens, device)


@torch.no_grad()
def _losses(batch: Batch, model: nn.Module, plain: PreTrainedModel, chunk: int, device: torch.device) -> Tensor:
    labels = batch.labels[:, 1:].to(device)
    inputs = {name: value.to(device) for name, value in batch.inputs.items()}
    keep = labels != IGNORE
    return answer_losses(model, plain, inputs, keep, labels[keep], chunk)


def _counting(batch: Batch, counts: Sequence[bool]) -> Batch:
    """The batch without labels where a conversation does not count."""
    return replace(batch, labels=batch.labels.masked_fill(~torch.tensor(counts)[:, None], IGNORE))


def held_out_giou(held: HeldOut, plain: PreTrainedModel, processor: ProcessorMixin, share: Share) -> float:
    """Mean IoU of the answers to the held-out queries. All workers call it."""
    generator, store = Generator(plain, processor, together=share.sharded), ImageStore(held.images)
    total, count = 0.0, 0
    for part in _chunks(share.indices(len(held.queries)), _AT_ONCE):
        rows = [held.queries[index] for index, _ in part]
        requests = [Request(store.read(row["shard"], row["image"]), row["question"]) for row in rows]
        answers = generator.generate(requests, Sampling(held.max_tokens))
        for row, answer, (_, counts) in zip(rows, answers, part, strict=True):
            if counts:
                total, count = total + _iou(row, answer[0].text, held.style), count + 1
    return share.mean(total, count, plain.device)


def _iou(row: Mapping[str, Any], answer: str, style: Style | None) -> float:
    return score_sample(answer, row_rle(row), style=style).iou


def _chunks(items: Sequence[tuple[int, bool]], size: int) -> Iterator[Sequence[tuple[int, bool]]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
