"""How well a crop of an image fits a phrase, by CLIP (Radford et al., 2021)."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPProcessor, PreTrainedModel, ProcessorMixin

from simpleseg_core.annotate._device import resolve_device
from simpleseg_core.annotate._protocols import Box, Image

_TEXT = "a photo of {}"
"""CLIP was trained on captions, which are seldom bare nouns."""


class Clip:
    """CLIP of transformers; weights by hub id or local folder, safetensors only."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, device: str, batch_size: int) -> None:
        self._device = resolve_device(device)
        self._model: Any = model.eval().to(self._device)
        self._processor: Any = processor
        self._batch_size = batch_size

    @classmethod
    def load(cls, model: str, device: str = "auto", batch_size: int = 16) -> Self:
        """Weights and processor by hub id or folder.

        Raises:
            OSError: no such folder or hub id, or no safetensors in it.
        """
        loaded = CLIPModel.from_pretrained(model, use_safetensors=True)
        return cls(loaded, CLIPProcessor.from_pretrained(model), device, batch_size)

    @torch.inference_mode()
    def similarities(self, image: Image, boxes: Sequence[Box], phrases: Sequence[str]) -> list[float]:
        """The cosine, in [-1, 1], of each box's crop of the image, uint8 (H, W, 3), and its phrase."""
        crops = [_crop(image, box) for box in boxes]
        found: list[float] = []
        for start in range(0, len(crops), self._batch_size):
            some = slice(start, start + self._batch_size)
            found.extend(functional.cosine_similarity(self._images(crops[some]), self._texts(phrases[some])).tolist())
        return found

    def _images(self, crops: Sequence[Image]) -> Tensor:
        inputs = self._processor(images=list(crops), input_data_format="channels_last", return_tensors="pt").to(
            self._device
        )
        features: Tensor = self._model.get_image_features(**inputs).pooler_output
        return features.float()

    def _texts(self, phrases: Sequence[str]) -> Tensor:
        texts = [_TEXT.format(phrase) for phrase in phrases]
        inputs = self._processor(text=texts, padding=True, truncation=True, return_tensors="pt").to(self._device)
        features: Tensor = self._model.get_text_features(**inputs).pooler_output
        return features.float()


def _crop(image: Image, box: Box) -> Image:
    """The box's part of the image, at least a pixel."""
    height, width = image.shape[:2]
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    return image[top:bottom, left:right]
