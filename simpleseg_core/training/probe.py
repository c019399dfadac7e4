"""A look at a model while it learns: the same few queries, answered again and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.records import PROMPTS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import Mask, polygons_to_mask
from simpleseg_core.grammar import Style, parse_polygons
from simpleseg_core.journal import Journal
from simpleseg_core.viz import Probe, RgbImage, probe_sheet

if TYPE_CHECKING:  # the process that announces a probe does not answer it
    from transformers import PreTrainedModel, ProcessorMixin

    from simpleseg_core.rollout import Completion, Request


def probe_queries(dataset: Path, count: int) -> list[dict[str, Any]]:
    """So many queries of different kinds (rows of PROMPTS) of the first validation benchmark, the same in every run."""
    for table in sorted(dataset.glob("benchmarks/*val.parquet")):
        rows = read_rows(table, PROMPTS)
        return rows[:: max(1, len(rows) // max(1, count))][:count]
    return []


@dataclass(frozen=True)
class GenerationProbe:
    """Queries with their exact masks (rows of PROMPTS), and where their images are."""

    prompts: Sequence[Mapping[str, Any]]
    images: Path
    max_tokens: int = 160
    name: str = "probe"
    """Of the pictures: whose answers they are."""
    style: Style | None = None
    """That the prompts ask for."""

    def __call__(self, model: "PreTrainedModel", processor: "ProcessorMixin", events: Journal, step: int) -> None:
        """Answer greedily and announce one picture with image, truth and prediction of every query."""
        from simpleseg_core.rollout import Generator, Request, Sampling

        if not self.prompts:
            return
        store = ImageStore(self.images)
        requests = [Request(store.read(row["shard"], row["image"]), row["question"]) for row in self.prompts]
        answers = Generator(model.eval(), processor).generate(requests, Sampling(self.max_tokens))
        events.image(self.name, draw_probes(self.prompts, requests, answers, self.style), step)


def draw_probes(
    rows: Sequence[Mapping[str, Any]],
    requests: "Sequence[Request]",
    answers: "Sequence[Sequence[Completion]]",
    style: Style | None = None,
) -> RgbImage:
    """A page of queries (rows of PROMPTS), each with its truth and the first of a model's answers to it."""
    every = zip(rows, requests, answers, strict=True)
    return probe_sheet([_probe(row, request.image, found[0].text, style) for row, request, found in every])


def probe_giou(
    rows: Sequence[Mapping[str, Any]], answers: "Sequence[Sequence[Completion]]", style: Style | None = None
) -> float:
    """Mean IoU of the first of a model's answers to each query (rows of PROMPTS); one that does not parse predicts
    nothing."""
    every = zip(rows, answers, strict=True)
    return float(np.mean([_iou(row_mask(row), _predicted(row, found[0].text, style)) for row, found in every]))


def _predicted(row: Mapping[str, Any], answer: str, style: Style | None) -> Mask:
    return polygons_to_mask(parse_polygons(answer, style=style).polygons, row["height"], row["width"])


def _probe(row: Mapping[str, Any], image: Image.Image, answer: str, style: Style | None) -> Probe:
    """An answer that does not parse predicts nothing."""
    truth = row_mask(row)
    prediction = _predicted(row, answer, style)
    readable = parse_polygons(answer, style=style).error is None
    verdict = f"IoU {_iou(truth, prediction):.2f}" if readable else "unreadable"
    return Probe(np.asarray(image), truth, prediction, f"{row['expression']}: {verdict}")


def _iou(first: Mask, second: Mask) -> float:
    union = int((first | second).sum())
    return float((first & second).sum()) / union if union else 1.0
