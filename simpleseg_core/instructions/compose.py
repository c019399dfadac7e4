"""From labelled images to the rows of the training and benchmark tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from simpleseg_core.config import Config
from simpleseg_core.geometry import encode_rle, mask_box
from simpleseg_core.grammar import question
from simpleseg_core.instructions.labels import LabelledImage, Labels, Reference
from simpleseg_core.instructions.pairs import Count, Turn, draw_turns, token_count, visit_references

Row = dict[str, Any]

_BINS = 20
"""Bins of a histogram at most."""
_BIN_WIDTHS = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]


def pretrain_rows(images: Iterable[LabelledImage], config: Config, count: Count = token_count) -> Iterator[Row]:
    """Conversations of tasks drawn by `dataset.pretrain_weights`: one for each instance of an image in each visit.

    Args:
        count: tokens of a text, to keep answers within `dataset.max_answer_tokens`.
    """
    dataset, contour = config.dataset, config.contour
    for item in images:
        rng = item.rng(config.seed, "pretrain")
        for number in range(visits(item, config, "pretrain", dataset.passes) * len(item.labels.targets)):
            turns = draw_turns(item.labels, dataset.pretrain_weights, dataset, contour, rng, dataset.max_turns, count)
            if turns:
                yield _conversation(item, f"{item.name}/{number}", turns)


def sft_rows(images: Iterable[LabelledImage], config: Config, count: Count = token_count) -> Iterator[Row]:
    """Conversations that visit every expression `dataset.passes` times, tasks drawn by `dataset.sft_weights`."""
    dataset = config.dataset
    for item in images:
        rng = item.rng(config.seed, "sft")
        number = 0
        for _ in range(visits(item, config, "sft", dataset.passes)):
            for turns in visit_references(item.labels, dataset.sft_weights, dataset, config.contour, rng, count):
                yield _conversation(item, f"{item.name}/{number}", turns)
                number += 1


def visits(item: LabelledImage, config: Config, use: str, passes: int = 1) -> int:
    """How often an image is visited in all passes: by the weight of its source, a fraction by its own lot."""
    wanted = passes * config.dataset.source_weights.get(item.source, 1.0)
    rest = wanted % 1
    return int(wanted) + (rest > 0 and item.rng(config.seed, f"{use}/weight").random() < rest)


def prompt_rows(
    images: Iterable[LabelledImage], config: Config, *, benchmark: str = "", per_image: int | None = None
) -> Iterator[Row]:
    """Queries with their exact masks: RL prompts, or the items of a benchmark in the plainest wording.

    Args:
        per_image: at most so many random queries of each image; None: all.
    """
    for item in images:
        rng = item.rng(config.seed, benchmark or "rl")
        for visit in range(1 if benchmark else visits(item, config, "rl")):
            order = rng.permutation(len(item.labels.references))
            for number in islice(order.tolist(), per_image):
                sample = f"{item.name}/{visit * len(order) + number}"
                yield _prompt(item, sample, item.labels.references[number], benchmark, config, rng)


def _prompt(
    item: LabelledImage, sample: str, reference: Reference, benchmark: str, config: Config, rng: np.random.Generator
) -> Row:
    dataset = config.dataset
    wording = question(
        "text->mask",
        expression=reference.expression,
        style=dataset.style,
        variety=1 if benchmark else dataset.template_variety,
        published=dataset.published_templates,
        rng=rng,
    )
    return {
        "sample": sample,
        **item.reference,
        "source": item.source,
        "benchmark": benchmark,
        "expression": reference.expression,
        "kind": reference.kind,
        "question": wording,
        "task": "text->mask",
        **_gold(item, reference),
    }


class Composition:
    """Counts what goes into the tables while it is written: turns and images by source and task, answers by length."""

    def __init__(self, count: Count = token_count) -> None:
        self._count = count
        self._turns: Counter[tuple[str, str, str]] = Counter()
        self._images: dict[tuple[str, str, str], set[str]] = {}
        self.rows: Counter[str] = Counter()
        """Rows of each table."""
        self.lengths: dict[str, Counter[int]] = {}
        """Table of conversations -> tokens of an answer -> how many answers have so many."""

    def watch(self, table: str, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass the rows of a table on; prompts count as turns."""
        self.rows[table] = 0
        for row in rows:
            self.rows[table] += 1
            for task in [turn["task"] for turn in row["turns"]] if "turns" in row else [row["task"]]:
                self._turns[table, row["source"], task] += 1
                self._images.setdefault((table, row["source"], task), set()).add(row["image"])
            if "turns" in row:
                found = self.lengths.setdefault(table, Counter())
                found.update(self._count(turn["answer"]) for turn in row["turns"])
            yield row

    def table(self) -> list[dict[str, object]]:
        """How many turns on how many images each source and task gives to every table, and their share of its turns."""
        totals: Counter[str] = Counter()
        for (name, _, _), number in self._turns.items():
            totals[name] += number
        return [
            {"table": name, "source": source, "task": task, "images": len(self._images[name, source, task])}
            | {"turns": number, "share": round(number / totals[name], 4)}
            for (name, source, task), number in sorted(self._turns.items())
        ]


def length_statistics(lengths: Mapping[int, int], limit: int) -> dict[str, float]:
    """Mean, median, 95th percentile and maximum of answer lengths, and how many stay over the limit.

    Args:
        lengths: tokens -> how many answers have so many.
    """
    known = lengths or {0: 1}
    values = np.repeat(list(known), list(known.values()))
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": float(values.max()),
        "over_limit": float((values > limit).sum()),
    }


def length_histogram(lengths: Mapping[str, Mapping[int, int]]) -> list[dict[str, object]]:
    """Answers of each table by length, in bins of one width: rows of first and last number of tokens, and counts."""
    longest = max((length for found in lengths.values() for length in found), default=0)
    width = next(step for step in _BIN_WIDTHS if longest < _BINS * step)
    rows: list[dict[str, object]] = []
    for first in range(0, longest + 1, width):
        bins = range(first, first + width)
        rows.append(
            {"tokens": f"{first}-{bins[-1]}"}
            | {name: sum(found.get(length, 0) for length in bins) for name, found in lengths.items()}
        )
    return rows


def _conversation(item: LabelledImage, sample: str, turns: Sequence[Turn]) -> Row:
    said = [{"task": turn.task, "question": turn.question, "answer": turn.answer} for turn in turns]
    return {"sample": sample, **item.reference, "source": item.source, "turns": said}


def _gold(item: LabelledImage, reference: Reference) -> Row:
    """The union of the targets' masks and its box, None where there is no target."""
    mask = _union(item.labels, reference, item.height, item.width)
    box = mask_box(mask)
    return {
        "targets": len(reference.targets),
        "rle_counts": encode_rle(mask)["counts"],
        "box": None if box is None else box.tolist(),
    }


def _union(labels: Labels, reference: Reference, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for index in reference.targets:
        mask |= labels.targets[index].mask
    return mask
