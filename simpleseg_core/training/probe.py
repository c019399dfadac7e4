"""A look at a model while it learns: the same few queries, answered again and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from simpleseg_core.data.outlines import row_mask
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.geometry import Mask, polygons_to_mask
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.models import chat_prompt
from simpleseg_core.training.events import EventWriter
from simpleseg_core.viz import Probe, probe_sheet


@dataclass(frozen=True)
class GenerationProbe:
    """Queries with their exact masks (rows of PROMPTS), and where their images are."""

    prompts: Sequence[Mapping[str, Any]]
    images: Path
    max_tokens: int = 160

    def __call__(self, model: PreTrainedModel, processor: ProcessorMixin, events: EventWriter, step: int) -> None:
        """Answer greedily and announce one picture with image, truth and prediction of every query."""
        if not self.prompts:
            return
        store = ImageStore(self.images)
        pictures = [store.read(row["shard"], row["image"]) for row in self.prompts]
        answers = _answer(model, processor, pictures, [row["question"] for row in self.prompts], self.max_tokens)
        probes = [draw_probe(*item) for item in zip(self.prompts, pictures, answers, strict=True)]
        events.image("probe", probe_sheet(probes), step)


def draw_probe(row: Mapping[str, Any], picture: Image.Image, answer: str) -> Probe:
    """One query with what a model said to it; an answer that does not parse predicts nothing."""
    truth = row_mask(row)
    parsed = parse_polygons(answer)
    prediction = polygons_to_mask(parsed.polygons, *truth.shape)
    verdict = f"IoU {_iou(truth, prediction):.2f}" if parsed.error is None else "unreadable"
    return Probe(np.asarray(picture), truth, prediction, f"{row['expression']}: {verdict}")


def _iou(first: Mask, second: Mask) -> float:
    union = int((first | second).sum())
    return float((first & second).sum()) / union if union else 1.0


@torch.inference_mode()
def _answer(
    model: PreTrainedModel, processor: Any, pictures: Sequence[Image.Image], questions: Sequence[str], max_tokens: int
) -> list[str]:
    texts = [chat_prompt(processor, question) for question in questions]
    inputs = processor(text=texts, images=list(pictures), padding=True, padding_side="left", return_tensors="pt").to(
        model.device
    )
    model.eval()
    forbidden = [model.config.image_token_id, model.config.video_token_id]
    output = cast(Any, model).generate(**inputs, max_new_tokens=max_tokens, do_sample=False, suppress_tokens=forbidden)
    answers: list[str] = processor.tokenizer.batch_decode(
        output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return answers
