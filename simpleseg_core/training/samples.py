"""Where a training run's conversations come from: the dataset stage's tables, or fresh RefShapes scenes without end."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from simpleseg_core.config import ContourConfig, DatasetConfig, Phase, RefShapesConfig, TrainConfig
from simpleseg_core.data.mapped import MappedRows
from simpleseg_core.data.records import CONVERSATIONS
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.instructions.scenes import scene_turns
from simpleseg_core.refshapes import scene
from simpleseg_core.training.order import EpochOrder
from simpleseg_core.training.schedule import is_due

if TYPE_CHECKING:
    from simpleseg_core.training.collate import Batch, Collator

_MOST_LOADERS = 4
"""Chosen by itself: more help where images are large and steps short, and each holds memory."""


@dataclass(frozen=True)
class Conversation:
    """One image with questions and their answers."""

    image: Image.Image
    questions: tuple[str, ...]
    answers: tuple[str, ...]


class Samples(Protocol):
    """Conversations by number."""

    def __getitem__(self, index: int) -> Conversation:
        """One to learn from."""

    def held(self, index: int) -> Conversation:
        """One that is never learned from."""


class ConversationTable:
    """The conversations of one parquet file, in a new order in each epoch; on the disk, however many they are."""

    def __init__(self, table: Path, images: Path, seed: int, work: Path, held_out: int = 0) -> None:
        """
        Args:
            work: folder for a copy of the table that can be mapped.
            held_out: rows at its end that are not learned from.

        Raises:
            ValueError: there is no row to learn from.
        """
        self.table, self.rows = table, MappedRows(table, CONVERSATIONS, work / f"{table.stem}.arrow")
        if not len(self.rows):
            raise ValueError(
                f"{table}: no conversations; loosen the filters of `contour` or raise the sizes under `data`"
            )
        self._learned = len(self.rows) - held_out
        if self._learned <= 0:
            raise ValueError(f"{table}: of {len(self.rows)} conversations {held_out} are held out: lower held_out")
        self._store, self._order = ImageStore(images), EpochOrder(self._learned, seed)

    def __len__(self) -> int:
        return self._learned

    def __getitem__(self, index: int) -> Conversation:
        return self._read(self._order[index])

    def held(self, index: int) -> Conversation:
        """One that is not learned from."""
        return self._read(self._learned + index)

    def _read(self, number: int) -> Conversation:
        row = self.rows[number]
        image = self._store.read(row["shard"], row["image"])
        return Conversation(
            image, tuple(turn["question"] for turn in row["turns"]), tuple(turn["answer"] for turn in row["turns"])
        )


@dataclass(frozen=True)
class SceneStream:
    """Fresh RefShapes scenes of the train split, with the tasks of the curriculum's phases."""

    scenes: RefShapesConfig
    phases: tuple[Phase, ...]
    dataset: DatasetConfig
    contour: ContourConfig
    total: int
    """Samples of the whole run."""
    seed: int

    def __getitem__(self, index: int) -> Conversation:
        phase = next(phase for phase in self.phases if index < phase.until * self.total or phase.until == 1)
        scenes = self.scenes.model_copy(update={"max_objects": min(phase.max_objects, self.scenes.max_objects)})
        drawn = scene(scenes, self.seed, "train", index)
        rng = np.random.default_rng([self.seed, index])
        turns = scene_turns(drawn, phase.tasks, self.dataset, self.contour, rng, phase.max_turns)
        questions, answers = tuple(turn.question for turn in turns), tuple(turn.answer for turn in turns)
        return Conversation(Image.fromarray(drawn.image), questions, answers)

    def held(self, index: int) -> Conversation:
        """One behind the end of the run."""
        return self[self.total + index]


@dataclass(frozen=True)
class StepBatches:
    """The micro-batches of each optimizer step of one worker: a map-style dataset for torch's DataLoader."""

    samples: Samples
    collate: "Collator"
    batch_size: int
    """Conversations of a step, over all workers."""
    micro_batch_size: int
    rank: int
    world_size: int
    packed: bool = False
    mixed_every: int = 0
    """Steps after which one has micro-batches of all lengths, for the noise of its gradient is measured; 0: none."""

    def __getitem__(self, step: int) -> "Sequence[Batch]":
        share = self.batch_size // self.world_size
        start = step * self.batch_size + self.rank * share
        ordered = [self.samples[index] for index in range(start, start + share)]
        if not is_due(step, self.mixed_every):
            ordered.sort(key=_characters)
        return [self.collate(ordered[part]) for part in self._parts(share)]

    def _parts(self, share: int) -> list[slice]:
        """The micro-batches among conversations ordered by length; as many on every worker, packed or not.

        Like lengths together, for a padded micro-batch is as wide as its longest member; packed, each gets its share
        of all lengths, for the one with most tokens decides over the memory.
        """
        size = self.micro_batch_size
        if self.packed:
            return [slice(first, None, share // size) for first in range(share // size)]
        return [slice(first, first + size) for first in range(0, share, size)]


def loaders(train: TrainConfig, world_size: int) -> int:
    """Processes of one worker that prepare batches, where the machine has `world_size` workers."""
    if train.loader_workers is not None:
        return train.loader_workers
    spare = len(os.sched_getaffinity(0)) // world_size - train.threads - 1  # which feeds the device
    return min(max(spare, 0), _MOST_LOADERS)


def _characters(conversation: Conversation) -> int:
    return sum(map(len, (*conversation.questions, *conversation.answers)))
