"""How many tokens prompts and conversations take, measured by the model's own processor before a training begins.

An image takes as many tokens as its size says, so that one blank image of each size stands for all of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import ProcessorMixin

from simpleseg_core.config import ModelConfig
from simpleseg_core.files import read_state, write_json
from simpleseg_core.models.chat import chat_prompt, chat_text
from simpleseg_core.models.loading import load_processor

Row = Mapping[str, Any]
"""A row of PROMPTS or CONVERSATIONS."""
_CHUNK = 1024


def longest(rows: Sequence[Row], start: str, model: ModelConfig, state: Path, mark: str) -> int:
    """Tokens of the longest prompt (a row of PROMPTS) or conversation (of CONVERSATIONS) among rows.

    Args:
        start: HF folder whose processor measures.
        state: JSON file that keeps what was found, for runs with the same `mark`.
    """
    saved = read_state(state)
    if saved.get("mark") != mark:
        saved = {"mark": mark, "longest": _longest(rows, load_processor(start, model))}
        write_json(state, saved)
    return int(saved["longest"])


def _longest(rows: Sequence[Row], processor: ProcessorMixin) -> int:
    sizes = sorted({_size(row) for row in rows})
    images = dict(zip(sizes, _image_tokens(processor, sizes), strict=True))
    return max(
        length + images[_size(row)]
        for first in range(0, len(rows), _CHUNK)
        for row, length in _text_lengths(processor, rows[first : first + _CHUNK])
    )


def _text_lengths(processor: ProcessorMixin, rows: Sequence[Row]) -> Iterable[tuple[Row, int]]:
    texts = [_text(processor, row) for row in rows]
    return zip(rows, map(len, processor.tokenizer(texts)["input_ids"]), strict=True)


def _text(processor: ProcessorMixin, row: Row) -> str:
    if "turns" not in row:
        return chat_prompt(processor, row["question"])
    questions, answers = ([turn[part] for turn in row["turns"]] for part in ("question", "answer"))
    return chat_text(processor, questions, answers)


def _image_tokens(processor: ProcessorMixin, sizes: Iterable[tuple[int, int]]) -> Iterable[int]:
    """What an image of a size (width, height) adds to the tokens of its text."""
    text = chat_prompt(processor, "")
    alone = len(processor.tokenizer([text])["input_ids"][0])
    for size in sizes:
        both = processor(text=[text], images=[Image.new("RGB", size)], return_tensors="pt")
        yield int(both["input_ids"].shape[1]) - alone


def _size(row: Row) -> tuple[int, int]:
    return row["width"], row["height"]
