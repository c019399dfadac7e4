"""The describer that shows a multimodal model each instance, outlined in its surroundings, and asks what to call it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from typing import Self

import cv2
import numpy as np
from PIL import Image as PilImage

from simpleseg_core.annotate._protocols import Annotated, Box, CaptionedImage, Description, Detector, Image, Mask
from simpleseg_core.annotate.boxes import box_iou
from simpleseg_core.annotate.describe import CaptionDescriber
from simpleseg_core.config import DescribeConfig
from simpleseg_core.grammar import format_box
from simpleseg_core.names import did_you_mean
from simpleseg_core.rollout import Request, Rollout, Sampling, describer_settings, vllm_engine

_CONTEXT = 0.5
"""Surroundings shown on each side, over the box's longer side."""
_OUTLINE = (255, 0, 255)
_MAX_WORDS = 16
_WORD = r"[a-z0-9',-]{1,20}"
NOUN_PHRASE = rf"[a-z]{_WORD}( {_WORD}){{0,{_MAX_WORDS - 1}}}"
"""What the model may answer: decoding is held to it."""
_PLAIN = re.compile(r"[^\W_][\w ,'’-]*")
"""One line of words: anything else is not a noun phrase, whichever engine wrote it."""


class VlmDescriber:
    """Asks the model about every instance, and keeps the caption's phrase where the answer is no good.

    An answer is good if it is a plain noun phrase by which the detector finds the instance again.
    """

    def __init__(self, engine: Rollout, config: DescribeConfig, detector: Detector | None) -> None:
        """
        Args:
            engine: what answers.
            config: the prompt, and the bounds on answers.
            detector: what looks for them; without one they are not checked.
        """
        self._engine, self._config, self._detector = engine, config, detector
        self._prompt = read_prompt(config.prompt)
        self._fallback = CaptionDescriber()
        self.name = f"vlm/{config.model}/{config.prompt}"

    @classmethod
    def load(cls, config: DescribeConfig, detector: Detector | None) -> Self:
        """The model `describe.model` in vLLM."""
        return cls(vllm_engine(config.model, describer_settings(config)), config, detector)

    def close(self) -> None:
        """Give vLLM's memory back."""
        self._engine.close()

    def describe(self, scenes: Sequence[Annotated]) -> list[list[Description]]:
        """One description for each instance, greedy; all instances of the scenes are one batch for the engine."""
        requests = [request for scene in scenes for request in self._requests(scene)]
        sampling = Sampling(max_tokens=self._config.max_tokens, regex=NOUN_PHRASE)
        texts = [usable_phrase(answer[0].text) for answer in self._engine.generate(requests, sampling)]
        found = iter(zip(texts, self._consistencies(scenes, texts), strict=True))
        return [
            [self._description(*next(found), fallback) for fallback in fallbacks]
            for fallbacks in self._fallback.describe(scenes)
        ]

    def _requests(self, scene: Annotated) -> Iterator[Request]:
        """A question for each instance, which says how many more of its kind there are.

        A prompt that names the box is for a model that reads boxes: it sees the image as it is.
        """
        counts = Counter([*(item.phrase for item in scene.instances), *scene.others])
        for item in scene.instances:
            others = _others(item.phrase, counts[item.phrase] - 1)
            question = self._prompt.format(phrase=item.phrase, others=others, box=format_box(item.box))
            shown = scene.image if "{box}" in self._prompt else crop(scene.image, item.mask, item.box)
            yield Request(PilImage.fromarray(shown), question)

    def _consistencies(self, scenes: Sequence[Annotated], texts: Sequence[str | None]) -> list[float | None]:
        """IoU of each instance's box with the best one that the detector finds by its text; 0 where it finds none."""
        instances = [(scene.image, item.box) for scene in scenes for item in scene.instances]
        asked = [(image, box, text) for (image, box), text in zip(instances, texts, strict=True) if text is not None]
        if self._detector is None or not asked:
            return [None] * len(texts)
        found = self._detector.detect([CaptionedImage(image, text, phrases=(text,)) for image, _, text in asked])
        overlaps = iter(
            box_iou(boxes[0].box, box) if boxes else 0.0 for boxes, (_, box, _) in zip(found, asked, strict=True)
        )
        return [None if text is None else next(overlaps) for text in texts]

    def _description(self, text: str | None, consistency: float | None, fallback: Description) -> Description:
        if text is None:
            return replace(fallback, rejected="unusable")
        if consistency is not None and consistency < self._config.min_consistency:
            return replace(fallback, consistency=consistency, rejected="inconsistent")
        return Description(text, self.name, consistency)


def read_prompt(name: str) -> str:
    """A prompt that ships with the package.

    Raises:
        ValueError: there is none of this name; it lists those there are.
    """
    folder = resources.files("simpleseg_core.annotate") / "prompts"
    if not re.fullmatch(r"\w+", name) or not (folder / f"{name}.txt").is_file():
        names = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
        meant = did_you_mean(name, names)
        raise ValueError(f"describe.prompt: no prompt {name!r}{meant}: choose one of {', '.join(names)}")
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
