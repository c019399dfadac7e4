"""Ask a model every query of a benchmark and score its answers; the only file of this room that needs torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from simpleseg_core.data.outlines import row_rle
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import Region
from simpleseg_core.grammar import Style
from simpleseg_core.metrics import score_sample
from simpleseg_core.rollout import Completion, Request, Rollout, Sampling

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to one query."""

    text: str
    tokens: int | None = None
    """Without the stop token; null where nobody counted."""
    region: Region | None = None
    """The very pixels, where the answer was a mask and the text is its outline."""

    @classmethod
    def of(cls, completion: Completion) -> "Answer":
        """The answer of one of our engines; the stop token is not counted."""
        return cls(completion.text, len(completion.token_ids) - completion.finished)


class Answering(Protocol):
    """Anything that answers PROMPTS rows: an engine, a server, a file."""

    def answer(self, prompts: Sequence[Row]) -> list[Answer]:
        """One answer for each prompt, in their order."""


@dataclass(frozen=True, slots=True)
class EngineAnswers:
    """`Answering` by one of our engines, greedily or as `sampling` says."""

    engine: Rollout
    images: ImageStore
    sampling: Sampling

    def answer(self, prompts: Sequence[Row]) -> list[Answer]:
        """One answer for each prompt, whose images are decoded together."""
        requests = [
            Request(self.images.read(prompt["shard"], prompt["image"]), prompt["question"]) for prompt in prompts
        ]
        return [Answer.of(answers[0]) for answers in self.engine.generate(requests, self.sampling)]


def answer_prompts(
    answering: Answering,
    model: str,
    prompts: Sequence[Row],
    *,
    style: Style | None = None,
    chunk: int = 256,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Answers to PROMPTS rows, scored: rows of PREDICTIONS in the same order.

    Args:
        style: the style that the prompts ask for.
        chunk: queries handed over at once; only so many images are decoded at a time.
        advance: told how many queries were done since it was last called.
    """
    rows: list[Row] = []
    for start in range(0, len(prompts), chunk):
        part = prompts[start : start + chunk]
        answers = answering.answer(part)
        rows += [score_answer(prompt, model, answer, style) for prompt, answer in zip(part, answers, strict=True)]
        advance(len(part))
    return rows


def score_answer(prompt: Mapping[str, Any], model: str, answer: Answer, style: Style | None = None) -> Row:
    """The PREDICTIONS row of one answer."""
    score = score_sample(answer.region or answer.text, row_rle(prompt), tokens=answer.tokens, style=style)
    return {**prompt, "model": model, "answer": answer.text, **asdict(score)}
