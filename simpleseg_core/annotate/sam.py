"""Segment Anything (Kirillov et al., 2023) and SAM 2 (Ravi et al., 2024) behind the segmenter protocol."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import cv2
import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin, Sam2Model, Sam2Processor, SamModel, SamProcessor

from simpleseg_core.annotate._device import precision, resolve_device
from simpleseg_core.annotate._protocols import Box, Image, Mask, Prompt, Segment
from simpleseg_core.config import SegmentConfig

_STABILITY_OFFSET = 1.0
"""Logits by which SAM's mask generator moves the threshold up and down to measure stability."""
_CERTAIN = 10.0
"""Logit of a pixel of a given mask: SAM takes masks as the logits that it gives."""


@dataclass(frozen=True, slots=True, eq=False)
class _Prompts:
    """Prompts of one kind, in pixels of the picture that the model sees."""

    boxes: Tensor | None
    """(prompts, 4)."""
    points: Tensor | None
    """(prompts, points, 2)."""
    labels: Tensor | None
    """(prompts, points): 1 on the object, 0 beside it."""
    masks: Tensor | None
    """(prompts, 1, side, side) logits."""


class _EmbeddedImage(Protocol):
    """An image that the model has embedded, once for all of its prompts."""

    size: tuple[int, int]
    """Height and width in pixels that the model sees, without padding."""
    mask_size: tuple[int, int]
    """Height and width in pixels of masks that the model is given, without padding."""
    mask_side: int
    """Side of such a mask with its padding."""
    device: torch.device

    def decode(self, prompts: _Prompts) -> tuple[Tensor, Tensor]:
        """Logits (prompts, masks, side, side), to be given back as masks, and their predicted IoU (prompts, masks)."""

    def full_size(self, logits: Tensor) -> Tensor:
        """Logits (prompts, masks, H, W) at the size of the image."""


class _Promptable(ABC):
    """What the engines share: prompts in batches, and of the masks of each the one with the best predicted IoU."""

    _threshold = 0.0

    def __init__(self, config: SegmentConfig) -> None:
        self._prompt, self._batch_size, self._dtype = config.prompt, config.batch_size, config.dtype
        self._device = resolve_device(config.device)

    @abstractmethod
    def _embed(self, image: Image) -> _EmbeddedImage:
        """Embed an image, uint8 (H, W, 3), for all of its prompts."""

    def segment(self, image: Image, boxes: Sequence[Box]) -> list[Segment]:
        """Masks of the boxes, prompted as `segment.prompt` says: one embedding of the image, then boxes in batches."""
        prompts = [_prompt_of(box, self._prompt) for box in boxes]
        return self.segment_prompts(image, prompts, rounds=2 if self._prompt == "box+mask" else 1)

    @torch.inference_mode()
    def segment_prompts(self, image: Image, prompts: Sequence[Prompt], rounds: int = 1) -> list[Segment]:
        """Masks of any prompts; from the second round on the model is also given its own best mask.

        Raises:
            ValueError: a prompt is empty, or its mask is not of the image's size.
        """
        if not prompts:
            return []
        with precision(self._device, self._dtype):
            embedded = self._embed(image)
        segments: dict[int, Segment] = {}
        for indices in _batches(prompts, self._batch_size):
            batch = _tensors([prompts[index] for index in indices], image.shape[:2], embedded)
            logits, scores = self._decode(embedded, batch)
            for _ in range(rounds - 1):
                logits, scores = self._decode(embedded, replace(batch, masks=logits[:, None]))
            full = embedded.full_size(logits[:, None])[:, 0]
            segments |= zip(indices, _segments(full, scores, self._threshold), strict=True)
        return [segments[index] for index in range(len(prompts))]

    def _decode(self, embedded: _EmbeddedImage, prompts: _Prompts) -> tuple[Tensor, Tensor]:
        """The best mask of each prompt as logits (prompts, side, side), and its predicted IoU (prompts,)."""
        with precision(self._device, self._dtype):
            logits, scores = embedded.decode(prompts)
        return _best(logits.float(), scores.float())


class SegmentAnything(_Promptable):
    """The original implementation; weights from a checkpoint file."""

    def __init__(self, model: Any, config: SegmentConfig) -> None:
        super().__init__(config)
        self._model = model.eval().to(self._device)
        self._threshold = self._model.mask_threshold
        self.name = f"segment_anything/{Path(config.model).name}"

    @classmethod
    def load(cls, config: SegmentConfig) -> Self:
        """The checkpoint `segment.model` of the architecture `segment.model_type`.

        Raises:
            FileNotFoundError: no such checkpoint.
        """
        checkpoint = Path(config.model)
        if not checkpoint.is_file():
            raise FileNotFoundError(
                f"segment.model: no checkpoint file {checkpoint}: name a segment-anything .pth file"
            )
        model = sam_model_registry[config.model_type]()
        model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        return cls(model, config)

    def _embed(self, image: Image) -> _EmbeddedImage:
        with torch.inference_mode():
            predictor = SamPredictor(self._model)
            predictor.set_image(image)
        return _OriginalEmbedding(predictor)


class _OriginalEmbedding:
    def __init__(self, predictor: SamPredictor) -> None:
        self._predictor: Any = predictor
        self.size, self.device = predictor.input_size, predictor.device
        self.mask_side = predictor.model.prompt_encoder.mask_input_size[0]
        self.mask_size = _scaled(self.size, self.mask_side / predictor.model.image_encoder.img_size)

    def decode(self, prompts: _Prompts) -> tuple[Tensor, Tensor]:
        _, scores, logits = self._predictor.predict_torch(
            prompts.points, prompts.labels, boxes=prompts.boxes, mask_input=prompts.masks, return_logits=True
        )
        return logits, scores

    def full_size(self, logits: Tensor) -> Tensor:
        predictor = self._predictor
        full: Tensor = predictor.model.postprocess_masks(logits, predictor.input_size, predictor.original_size)
        return full


class TransformersSam(_Promptable):
    """SAM and SAM 2 of transformers; weights by hub id or local folder, safetensors only."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, config: SegmentConfig) -> None:
        super().__init__(config)
        self._model: Any = model.eval().to(self._device)
        self._processor: Any = processor
        self.name = f"{config.engine}/{config.model}"

    @classmethod
    def load(cls, config: SegmentConfig) -> Self:
        """Weights and processor named by `segment.model`, of SAM or SAM 2 as `segment.engine` says.

        Raises:
            OSError: no such folder or hub id, or no safetensors in it.
        """
        model, processor = (Sam2Model, Sam2Processor) if config.engine == "sam2" else (SamModel, SamProcessor)
        loaded = model.from_pretrained(config.model, use_safetensors=True)
        return cls(loaded, processor.from_pretrained(config.model), config)

    def _embed(self, image: Image) -> _EmbeddedImage:
        return _TransformersEmbedding(self._model, self._processor, image, self._device)


class _TransformersEmbedding:
    def __init__(self, model: Any, processor: Any, image: Image, device: torch.device) -> None:
        inputs = processor(images=image, return_tensors="pt", device=device)
        self._model, self._processor, self.device = model, processor, device
        # SAM takes padded images and cuts the padding off; SAM 2 takes stretched ones.
        self._sizes = {key: inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs}
        padded = tuple(inputs["pixel_values"].shape[2:])
        height, width = self._sizes["reshaped_input_sizes"][0].tolist() if len(self._sizes) == 2 else padded
        self.size = (height, width)
        self.mask_side = 4 * model.prompt_encoder.image_embedding_size[0]
        self.mask_size = _scaled(self.size, self.mask_side / padded[0])
        embeddings = model.get_image_embeddings(inputs["pixel_values"].to(device))
        self._embeddings: list[Tensor] = embeddings if isinstance(embeddings, list) else [embeddings]

    def decode(self, prompts: _Prompts) -> tuple[Tensor, Tensor]:
        """Each prompt stands for an image of the batch: only images may have masks of their own."""
        given = [part for part in (prompts.boxes, prompts.points, prompts.masks) if part is not None]
        repeated = [part.expand(len(given[0]), *part.shape[1:]) for part in self._embeddings]
        outputs = self._model(
            image_embeddings=repeated if len(repeated) > 1 else repeated[0],
            input_boxes=_unsqueeze(prompts.boxes),
            input_points=_unsqueeze(prompts.points),
            input_labels=_unsqueeze(prompts.labels),
            input_masks=prompts.masks,
        )
        return outputs.pred_masks[:, 0], outputs.iou_scores[:, 0]

    def full_size(self, logits: Tensor) -> Tensor:
        (full,) = self._processor.image_processor.post_process_masks(logits[None], **self._sizes, binarize=False)
        scaled: Tensor = full
        return scaled


def _unsqueeze(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor[:, None]


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _prompt_of(box: Box, kind: str) -> Prompt:
    """What a detection's box becomes; its middle is the point where the object most likely is."""
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return Prompt(None if kind == "point" else box, (middle,) if "point" in kind else ())


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[int]]:
    """Indices of prompts of one kind: those with as many points, with a box or without, with a mask or without."""
    by_kind: dict[tuple[object, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        if prompt.box is None and prompt.mask is None and not prompt.points:
            raise ValueError("an empty prompt: give a box, points on the object or a mask")
        kind = (prompt.box is None, len(prompt.points), len(prompt.outside), prompt.mask is None)
        by_kind.setdefault(kind, []).append(index)
    for group in by_kind.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _tensors(prompts: Sequence[Prompt], image_size: tuple[int, ...], embedded: _EmbeddedImage) -> _Prompts:
    """Prompts of one kind as the model takes them."""
    height, width = embedded.size
    scale = np.array([width, height], np.float32)
    first = prompts[0]
    boxes = points = labels = masks = None
    if first.box is not None:
        corners = [np.reshape(item.box, (2, 2)) * scale for item in prompts if item.box is not None]
        boxes = _tensor(corners, embedded).flatten(1)
    if first.points or first.outside:
        points = _tensor([np.array([*item.points, *item.outside]) * scale for item in prompts], embedded)
        signs = [1] * len(first.points) + [0] * len(first.outside)
        labels = torch.tensor([signs] * len(prompts), device=embedded.device)
    if first.mask is not None:
        masks = _tensor([_mask_logits(item.mask, image_size, embedded) for item in prompts], embedded)[:, None]
    return _Prompts(boxes, points, labels, masks)


def _tensor(values: Sequence[np.ndarray], embedded: _EmbeddedImage) -> Tensor:
    return torch.as_tensor(np.stack(values), dtype=torch.float32, device=embedded.device)


def _mask_logits(mask: Mask | None, image_size: tuple[int, ...], embedded: _EmbeddedImage) -> np.ndarray:
    """A mask of the image as logits (side, side), background where the model's picture is padded."""
    if mask is None or mask.shape != image_size:
        shape = None if mask is None else mask.shape
        raise ValueError(f"a prompt's mask has the shape {shape}, but the image {image_size}: give a mask of the image")
    height, width = embedded.mask_size
    share = np.zeros((embedded.mask_side, embedded.mask_side), np.float32)
    share[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    logits: np.ndarray = (2 * share - 1) * _CERTAIN
    return logits


def _best(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of (prompts, masks, h, w) and (prompts, masks) what belongs to the best score: (prompts, h, w) and (prompts,)."""
    rows, chosen = torch.arange(len(scores), device=scores.device), scores.argmax(dim=1)
    return logits[rows, chosen], scores[rows, chosen]


def _segments(logits: Tensor, scores: Tensor, threshold: float) -> list[Segment]:
    """Masks from logits (prompts, H, W) and their scores (prompts,)."""
    masks = (logits > threshold).cpu().numpy()
    inner = (logits > threshold + _STABILITY_OFFSET).sum(dim=(1, 2)).float()
    outer = (logits > threshold - _STABILITY_OFFSET).sum(dim=(1, 2)).float()
    stability = (inner / outer.clamp(min=1)).tolist()
    confidence = scores.float().clamp(0, 1).tolist()
    return [Segment(mask, iou, stable) for mask, iou, stable in zip(masks, confidence, stability, strict=True)]
