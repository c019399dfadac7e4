"""Lengths in tokens, measured before a training begins: those of the model's processor, kept for the next run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.chat import chat_prompt
from simpleseg_core.models.loading import load_processor
from simpleseg_core.training.collate import Collator, Conversation
from simpleseg_core.training.lengths import longest
from tests.tiny import TINY

SIZES = [(96, 96), (96, 192), (40, 300), (333, 125)]


def _row(size: tuple[int, int], words: int) -> dict[str, object]:
    question = "outline of " + "red circle " * words
    turns = [{"task": "text->mask", "question": question, "answer": "[[[10,20],[30,40],[50,60]]]"}] * 2
    return {"width": size[0], "height": size[1], "question": question, "turns": turns}


def _conversation(row: dict[str, object]) -> Conversation:
    turns: list[dict[str, str]] = row["turns"]  # type: ignore[assignment]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (row["height"], row["width"], 3), np.uint8))  # type: ignore[arg-type]
    return Conversation(image, tuple(turn["question"] for turn in turns), tuple(turn["answer"] for turn in turns))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("words", [1, 30])
def test_a_length_is_what_the_trainer_will_count(
    tiny_checkpoint: Path, tmp_path: Path, size: tuple[int, int], words: int
) -> None:
    row, processor = _row(size, words), load_processor(tiny_checkpoint, TINY)
    conversation = _conversation(row)
    batch = Collator(processor, 10_000, architecture("qwen2_5_vl"))([conversation])
    assert longest([row], str(tiny_checkpoint), TINY, tmp_path / "a", "") == batch.labels.shape[1]
    prompt = {key: row[key] for key in ("width", "height", "question")}
    encoded = processor(text=[chat_prompt(processor, str(row["question"]))], images=[conversation.image])
    assert longest([prompt], str(tiny_checkpoint), TINY, tmp_path / "b", "") == len(encoded["input_ids"][0])


def test_the_longest_of_all_is_found_and_kept(tiny_checkpoint: Path, tmp_path: Path) -> None:
    rows = [_row(size, words) for size in SIZES for words in (1, 5)]
    alone = [longest([row], str(tiny_checkpoint), TINY, tmp_path / str(i), "") for i, row in enumerate(rows)]
    state = tmp_path / "all"
    assert longest(rows, str(tiny_checkpoint), TINY, state, "mark") == max(alone)
    assert longest(rows, "/nowhere", TINY, state, "mark") == max(alone)
    with pytest.raises(OSError, match="nowhere"):
        longest(rows, "/nowhere", TINY, state, "another mark")
