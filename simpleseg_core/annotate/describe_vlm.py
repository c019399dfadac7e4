"""The describer that shows a multimodal model each instance, outlined in its surroundings, and asks what to call it."""

import re
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Self

import cv2
import numpy as np
from PIL import Image as PilImage

from simpleseg_core.annotate._protocols import Annotated, Box, Description, Image, Instance, Mask
from simpleseg_core.annotate.describe import CaptionDescriber
from simpleseg_core.config import DescribeConfig
from simpleseg_core.rollout import EngineSettings, Request, Rollout, Sampling, vllm_engine

_CONTEXT = 0.5
"""Surroundings shown on each side, over the box's longer side."""
_OUTLINE = (255, 0, 255)
_MAX_WORDS = 16
_PLAIN = re.compile(r"[^\W_][\w ,'’-]*")
"""One line of words: anything else is not a noun phrase."""


class VlmDescriber:
    """Asks the model about every instance, and keeps the caption's phrase where the answer is no usable phrase."""

    def __init__(self, engine: Rollout, config: DescribeConfig) -> None:
        self._engine, self._config = engine, config
        self._prompt = read_prompt(config.prompt)
        self._fallback = CaptionDescriber()
        self.name = f"vlm/{config.model}/{config.prompt}"

    @classmethod
    def load(cls, config: DescribeConfig) -> Self:
        """The model `describe.model` in vLLM."""
        settings = EngineSettings(dtype="bfloat16", max_length=4096, max_num_seqs=config.batch_size)
        return cls(vllm_engine(config.model, settings), config)

    def describe(self, scenes: Sequence[Annotated]) -> list[list[Description]]:
        """One description for each instance, greedy; all instances of the scenes are one batch for the engine."""
        requests = [
            Request(PilImage.fromarray(crop(scene.image, item.mask, item.box)), question)
            for scene in scenes
            for item, question in zip(scene.instances, self._questions(scene.instances), strict=True)
        ]
        sampling = Sampling(max_tokens=self._config.max_tokens)
        answers = iter(answer[0].text for answer in self._engine.generate(requests, sampling))
        return [
            [self._description(next(answers), fallback) for fallback in fallbacks]
            for fallbacks in self._fallback.describe(scenes)
        ]

    def _questions(self, instances: Sequence[Instance]) -> list[str]:
        """The prompt for each instance, which says how many more of its kind there are."""
        counts = Counter(item.phrase for item in instances)
        return [
            self._prompt.format(phrase=item.phrase, others=_others(item.phrase, counts[item.phrase] - 1))
            for item in instances
        ]

    def _description(self, answer: str, fallback: Description) -> Description:
        text = usable_phrase(answer)
        return fallback if text is None else Description(text, self.name)


def read_prompt(name: str) -> str:
    """A prompt that ships with the package.

    Raises:
        ValueError: there is none of this name; it lists those there are.
    """
    folder = resources.files("simpleseg_core.annotate") / "prompts"
    if not re.fullmatch(r"\w+", name) or not (folder / f"{name}.txt").is_file():
        names = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
        raise ValueError(f"describe.prompt: no prompt {name!r}: choose one of {', '.join(names)}")
    return (folder / f"{name}.txt").read_text(encoding="utf-8").strip()


def crop(image: Image, mask: Mask, box: Box) -> Image:
    """The instance with its surroundings, its outline drawn on a copy of the image, uint8 (h, w, 3)."""
    height, width = mask.shape
    drawn = np.ascontiguousarray(image.copy())
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _OUTLINE, thickness=max(1, round(max(height, width) / 300)))
    left, right, top, bottom = box[0] * width, box[2] * width, box[1] * height, box[3] * height
    margin = _CONTEXT * max(right - left, bottom - top) + 1
    rows = slice(max(0, int(top - margin)), int(np.ceil(bottom + margin)))
    return drawn[rows, max(0, int(left - margin)) : int(np.ceil(right + margin))]


def usable_phrase(answer: str) -> str | None:
    """The answer as a lower-case noun phrase, or None where it is none: several lines, too long, markup, empty."""
    text = answer.strip().strip("\"'.").strip().lower()
    return text if _PLAIN.fullmatch(text) and len(text.split()) <= _MAX_WORDS else None


def _others(phrase: str, count: int) -> str:
    return f' The picture shows {count} more "{phrase}"; tell this one apart from them.' if count else ""
