"""A small task for reinforcement learning: six pictures with a box each, and an engine in this process."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simpleseg_core.config import Config
from simpleseg_core.data.shards import encode_jpeg
from simpleseg_core.geometry import decode_rle, encode_rle, mask_to_polygons
from simpleseg_core.grammar import format_polygons, question
from simpleseg_core.rollout import Completion, Request, Sampling, State, engine_settings, open_engine
from simpleseg_core.training.rl_engines import Answered
from tests.tiny import TINY

PROMPT_COUNT = 6


def prompt_row(index: int) -> tuple[dict[str, Any], bytes]:
    """A query with a rectangle as its answer, and its picture."""
    left, top = 8 + 4 * index, 6 + 3 * index
    mask = np.zeros((64, 64), dtype=bool)
    mask[top : top + 24, left : left + 28] = True
    image = np.where(mask[..., None], [200, 30 * index, 40], [20, 20, 90]).astype(np.uint8)
    row = {
        "sample": f"p{index}", "image": f"p{index}", "shard": "images/rl.tar", "width": 64, "height": 64,
        "benchmark": "", "expression": "red box", "kind": "attribute",
        "question": question("text->mask", expression="red box"),
        "task": "text->mask", "targets": 1, "rle_counts": encode_rle(mask)["counts"],
        "box": [left / 64, top / 64, (left + 28) / 64, (top + 24) / 64],
    }  # fmt: skip
    return row, encode_jpeg(image)


def answer_tokens(row: dict[str, Any], processor: Any) -> tuple[int, ...]:
    mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
    text = format_polygons(mask_to_polygons(mask, tolerance=0.02), style="permille")
    return (*processor.tokenizer.encode(text), processor.tokenizer.eos_token_id)


def configuration(**changes: Any) -> Config:
    rl = {
        "steps": 4, "prompts": 3, "group_size": 4, "minibatches": 1, "max_resample": 1,
        "checkpoint_every": 1, "probe_every": 2, "table_every": 2,
        "optimizer": {"lr": 1e-3, "min_lr": 1e-3, "weight_decay": 0.0},
        "rollout": {
            "engine": "transformers", "max_tokens": 40, "max_length": 128, "max_num_seqs": 16, "prompts_per_call": 2,
        },
    }  # fmt: skip
    return Config.model_validate({"model": TINY.model_dump(), "rl": rl | changes})


class Here:
    """The reference engine in this process, in place of a pool."""

    def __init__(self, config: Config, model: Path) -> None:
        self._engine = open_engine("transformers", str(model), engine_settings(config.rl.rollout, config.model))

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        return self._engine.generate(requests, sampling)

    def load_weights(self, weights: State) -> None:
        self._engine.load_weights(weights)

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answered]:
        yield Answered(0, self.generate(requests, sampling), 0)
