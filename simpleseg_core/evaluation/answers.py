"""Ask a model every query of a benchmark and score its answers; the only file of this room that needs torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from simpleseg_core.data.outlines import row_rle
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.grammar import Style
from simpleseg_core.metrics import score_sample
from simpleseg_core.rollout import Completion, Request, Rollout, Sampling

Row = dict[str, Any]


def answer_prompts(
    engine: Rollout,
    model: str,
    prompts: Sequence[Row],
    images: ImageStore,
    sampling: Sampling,
    *,
    style: Style | None = None,
    chunk: int = 256,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Greedy answers to PROMPTS rows, scored: rows of PREDICTIONS in the same order.

    Args:
        style: the style that the prompts ask for.
        chunk: queries handed to the engine at once; only so many images are decoded at a time.
        advance: told how many queries were done since it was last called.
    """
    rows: list[Row] = []
    for start in range(0, len(prompts), chunk):
        part = prompts[start : start + chunk]
        requests = [Request(images.read(prompt["shard"], prompt["image"]), prompt["question"]) for prompt in part]
        completions = engine.generate(requests, sampling)
        rows += [
            score_answer(prompt, model, answers[0], style) for prompt, answers in zip(part, completions, strict=True)
        ]
        advance(len(part))
    return rows


def score_answer(prompt: Mapping[str, Any], model: str, completion: Completion, style: Style | None = None) -> Row:
    """The PREDICTIONS row of one answer; the stop token is not counted."""
    tokens = len(completion.token_ids) - completion.finished
    score = score_sample(completion.text, row_rle(prompt), tokens=tokens, style=style)
    return {
        **prompt,
        "model": model,
        "answer": completion.text,
        **asdict(score),
    }
