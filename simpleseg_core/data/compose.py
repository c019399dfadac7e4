"""From viewed images to the rows of the training and benchmark tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from simpleseg_core.config import Config
from simpleseg_core.data.pairs import Reference, Turn, View, draw_turns, token_count, visit_references
from simpleseg_core.data.views import ViewedImage
from simpleseg_core.geometry import encode_rle, mask_box
from simpleseg_core.grammar import question

Row = dict[str, Any]


def pretrain_rows(images: Iterable[ViewedImage], config: Config) -> Iterator[Row]:
    """Conversations of tasks drawn by `dataset.pretrain_weights`: one for each instance of an image in each pass."""
    dataset = config.dataset
    for item in images:
        rng = item.rng(config.seed, "pretrain")
        for number in range(dataset.passes * len(item.view.targets)):
            turns = draw_turns(item.view, dataset.pretrain_weights, dataset, config.contour, rng, dataset.max_turns)
            if turns:
                yield _conversation(item, f"{item.image}/{number}", turns)


def sft_rows(images: Iterable[ViewedImage], config: Config) -> Iterator[Row]:
    """Conversations that visit every expression `dataset.passes` times, tasks drawn by `dataset.sft_weights`."""
    dataset = config.dataset
    for item in images:
        rng = item.rng(config.seed, "sft")
        number = 0
        for _ in range(dataset.passes):
            for turns in visit_references(item.view, dataset.sft_weights, dataset, config.contour, rng):
                yield _conversation(item, f"{item.image}/{number}", turns)
                number += 1


def prompt_rows(
    images: Iterable[ViewedImage], config: Config, *, benchmark: str = "", per_image: int | None = None
) -> Iterator[Row]:
    """Queries with their exact masks: RL prompts, or the items of a benchmark in the plainest wording.

    Args:
        per_image: at most so many random queries of each image; None: all.
    """
    variety = 1 if benchmark else config.dataset.template_variety
    for item in images:
        rng = item.rng(config.seed, benchmark or "rl")
        order = rng.permutation(len(item.view.references))
        for number in islice(order.tolist(), per_image):
            reference = item.view.references[number]
            yield {
                "sample": f"{item.image}/{number}",
                **item.reference,
                "benchmark": benchmark,
                "expression": reference.expression,
                "kind": reference.kind,
                "question": question(
                    "text->mask",
                    expression=reference.expression,
                    style=config.dataset.style,
                    variety=variety,
                    published=config.dataset.published_templates,
                    rng=rng,
                ),
                "task": "text->mask",
                **_gold(item, reference),
            }


def composition(tables: Mapping[str, Sequence[Row]], gold: str) -> list[dict[str, object]]:
    """How many turns of each source and task every table holds; prompts count as turns of the source `gold`."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for name, rows in tables.items():
        for row in rows:
            for task in [turn["task"] for turn in row["turns"]] if "turns" in row else [row["task"]]:
                counts[name, row.get("source", gold), task] += 1
    return [
        {"table": table, "source": source, "task": task, "turns": count}
        for (table, source, task), count in sorted(counts.items())
    ]


def answer_tokens(rows: Iterable[Row]) -> dict[str, float]:
    """Mean, median, 95th percentile and maximum of the estimated tokens of all answers."""
    lengths = [token_count(turn["answer"]) for row in rows for turn in row["turns"]] or [0]
    return {
        "mean": float(np.mean(lengths)),
        "median": float(np.median(lengths)),
        "p95": float(np.percentile(lengths, 95)),
        "max": float(max(lengths)),
    }


def _conversation(item: ViewedImage, sample: str, turns: Sequence[Turn]) -> Row:
    said = [{"task": turn.task, "question": turn.question, "answer": turn.answer} for turn in turns]
    return {"sample": sample, **item.reference, "source": item.source, "turns": said}


def _gold(item: ViewedImage, reference: Reference) -> Row:
    """The union of the targets' masks and its box, None where there is no target."""
    mask = _union(item.view, reference, item.height, item.width)
    box = mask_box(mask)
    return {
        "targets": len(reference.targets),
        "rle_counts": encode_rle(mask)["counts"],
        "box": None if box is None else box.tolist(),
    }


def _union(view: View, reference: Reference, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for index in reference.targets:
        mask |= view.targets[index].mask
    return mask
