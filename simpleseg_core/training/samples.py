"""Where a training run's conversations come from: the dataset stage's tables, or fresh RefShapes scenes without end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from simpleseg_core.config import ContourConfig, DatasetConfig, Phase, RefShapesConfig
from simpleseg_core.data.pairs import scene_turns
from simpleseg_core.data.records import CONVERSATIONS, read_rows
from simpleseg_core.data.refshapes import scene
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.training.collate import Batch, Collator, Conversation


class Samples(Protocol):
    """Conversations by number."""

    def __getitem__(self, index: int) -> Conversation: ...


class ConversationTable:
    """The conversations of one parquet file, in a new order in each epoch."""

    def __init__(self, table: Path, images: Path, seed: int) -> None:
        self._rows = read_rows(table, CONVERSATIONS)
        if not self._rows:
            raise ValueError(
                f"{table}: no conversations; loosen the filters of `contour` or raise the sizes under `data`"
            )
        self._store, self._seed = ImageStore(images), seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Conversation:
        epoch, position = divmod(index, len(self._rows))
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))
        row = self._rows[order[position]]
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


@dataclass(frozen=True)
class StepBatches:
    """The micro-batches of each optimizer step of one worker: a map-style dataset for torch's DataLoader."""

    samples: Samples
    collate: Collator
    batch_size: int
    """Conversations of a step, over all workers."""
    micro_batch_size: int
    rank: int
    world_size: int

    def __getitem__(self, step: int) -> Sequence[Batch]:
        share = self.batch_size // self.world_size
        start = step * self.batch_size + self.rank * share
        # Like lengths together: a micro-batch is as wide as its longest member.
        ordered = sorted((self.samples[index] for index in range(start, start + share)), key=_characters)
        return [
            self.collate(ordered[first : first + self.micro_batch_size])
            for first in range(0, share, self.micro_batch_size)
        ]


def _characters(conversation: Conversation) -> int:
    return sum(map(len, (*conversation.questions, *conversation.answers)))
