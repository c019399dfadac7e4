"""Segment Anything (Kirillov et al., 2023) and SAM 2 (Ravi et al., 2024) behind the segmenter protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from transformers import PreTrainedModel, ProcessorMixin, Sam2Model, Sam2Processor, SamModel, SamProcessor

from simpleseg_core.annotate._device import resolve_device
from simpleseg_core.annotate._protocols import Box, Image, Segment
from simpleseg_core.config import SegmentConfig

_STABILITY_OFFSET = 1.0
"""Logits by which SAM's mask generator moves the threshold up and down to measure stability."""


class SegmentAnything:
    """The original implementation; weights from a checkpoint file."""

    def __init__(self, model: Any, config: SegmentConfig) -> None:
        self._model = model.eval().to(resolve_device(config.device))
        self._batch_size = config.batch_size
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

    @torch.inference_mode()
    def segment(self, image: Image, boxes: Sequence[Box]) -> list[Segment]:
        """One embedding of the image, then its boxes in batches; of three masks the one with the best predicted IoU."""
        if not boxes:
            return []
        predictor = SamPredictor(self._model)
        predictor.set_image(image)
        corners = torch.as_tensor(_pixels(boxes, image), dtype=torch.float32, device=predictor.device)
        prompts = predictor.transform.apply_boxes_torch(corners, image.shape[:2])
        segments: list[Segment] = []
        for batch in prompts.split(self._batch_size):
            logits, scores, _ = predictor.predict_torch(None, None, boxes=batch, return_logits=True)
            segments.extend(_best(logits, scores, self._model.mask_threshold))
        return segments


class TransformersSam:
    """SAM and SAM 2 of transformers; weights by hub id or local folder, safetensors only."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, config: SegmentConfig) -> None:
        self._device = resolve_device(config.device)
        self._model: Any = model.eval().to(self._device)
        self._processor: Any = processor
        self._batch_size = config.batch_size
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

    @torch.inference_mode()
    def segment(self, image: Image, boxes: Sequence[Box]) -> list[Segment]:
        """One embedding of the image, then its boxes in batches; of three masks the one with the best predicted IoU."""
        if not boxes:
            return []
        inputs = self._processor(images=image, input_boxes=[_pixels(boxes, image).tolist()], return_tensors="pt")
        embeddings = self._model.get_image_embeddings(inputs["pixel_values"].to(self._device))
        # SAM takes padded images and cuts the padding off; SAM 2 takes stretched ones.
        sizes = {key: inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs}
        segments: list[Segment] = []
        for batch in inputs["input_boxes"].float().to(self._device).split(self._batch_size, dim=1):
            outputs = self._model(image_embeddings=embeddings, input_boxes=batch)
            (logits,) = self._processor.image_processor.post_process_masks(outputs.pred_masks, **sizes, binarize=False)
            segments.extend(_best(logits, outputs.iou_scores[0], 0.0))
        return segments


def _pixels(boxes: Sequence[Box], image: Image) -> np.ndarray:
    """Boxes in pixels, (N, 4)."""
    height, width = image.shape[:2]
    return np.array(boxes, np.float32) * np.array([width, height, width, height], np.float32)


def _best(logits: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[Segment]:
    """For each box the best of its masks.

    Args:
        logits: (boxes, masks, H, W).
        scores: (boxes, masks) predicted IoU.
        threshold: of the logits.
    """
    chosen = scores.argmax(dim=1)
    rows = torch.arange(len(chosen), device=chosen.device)
    logits, scores = logits[rows, chosen], scores[rows, chosen]
    masks = (logits > threshold).cpu().numpy()
    inner = (logits > threshold + _STABILITY_OFFSET).sum(dim=(1, 2)).float()
    outer = (logits > threshold - _STABILITY_OFFSET).sum(dim=(1, 2)).float()
    stability = (inner / outer.clamp(min=1)).tolist()
    confidence = scores.float().clamp(0, 1).tolist()
    return [Segment(mask, iou, stable) for mask, iou, stable in zip(masks, confidence, stability, strict=True)]
