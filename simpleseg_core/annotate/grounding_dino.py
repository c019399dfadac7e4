"""Grounding-DINO (Liu et al., 2023) behind the detector protocol, from transformers and from groundingdino-py."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor, PreTrainedModel, ProcessorMixin

from simpleseg_core.annotate import _groundingdino_compat
from simpleseg_core.annotate._device import precision, resolve_device
from simpleseg_core.annotate._grounding import Floats, Offsets, PromptedImage, detect
from simpleseg_core.annotate._protocols import CaptionedImage, Detection
from simpleseg_core.config import DetectConfig
from simpleseg_core.names import did_you_mean

_ARCHITECTURES = {"swin_t": "GroundingDINO_SwinT_OGC", "swin_b": "GroundingDINO_SwinB_cfg"}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TransformersGroundingDino:
    """The port in transformers; weights by hub id or local folder, safetensors only."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, config: DetectConfig) -> None:
        self._device = resolve_device(config.device)
        self._model = model.eval().to(self._device)
        self._processor = processor
        self._config = config
        self.name = f"transformers/{config.model}"

    @classmethod
    def load(cls, config: DetectConfig) -> Self:
        """Weights and processor named by `detect.model`.

        Raises:
            OSError: no such folder or hub id, or no safetensors in it.
        """
        model = AutoModelForZeroShotObjectDetection.from_pretrained(config.model, use_safetensors=True)
        return cls(model, AutoProcessor.from_pretrained(config.model), config)

    def detect(self, images: Sequence[CaptionedImage]) -> list[list[Detection]]:
        """Detections of the phrases of each image, best first."""
        return detect(images, self._offsets, self._predict, self._config)

    def _offsets(self, text: str) -> Offsets:
        return _token_offsets(self._processor.tokenizer, text)

    @torch.inference_mode()
    def _predict(self, questions: Sequence[PromptedImage]) -> Iterator[tuple[Floats, Floats]]:
        images, texts = [asked.image for asked in questions], [asked.prompt.text for asked in questions]
        inputs = self._processor(images=images, text=texts, padding=True, return_tensors="pt", device=self._device)
        with precision(self._device, self._config.dtype):
            outputs = self._model(**inputs.to(self._device))
        yield from _to_numpy(outputs.logits, outputs.pred_boxes)


class GroundingDinoPy:
    """The original implementation; weights from a checkpoint file."""

    def __init__(
        self, model: torch.nn.Module, config: DetectConfig, short_side: int = 800, long_side: int = 1333
    ) -> None:
        self._device = resolve_device(config.device)
        self._model: Any = model.eval().to(self._device)
        self._sides = short_side, long_side
        self._config = config
        self.name = f"groundingdino/{Path(config.model).name}"

    @classmethod
    def load(cls, config: DetectConfig) -> Self:
        """The checkpoint `detect.model` (.pth or .safetensors) of the architecture `detect.config_file`.

        A folder `bert-base-uncased` beside the checkpoint is the text encoder; without one it is asked of the hub.

        Raises:
            FileNotFoundError: no such checkpoint.
            ValueError: no such architecture, or weights that belong to another one.
        """
        checkpoint = Path(config.model)
        if not checkpoint.is_file():
            raise FileNotFoundError(f"detect.model: no checkpoint file {checkpoint}: name a .pth or .safetensors file")
        encoder = checkpoint.parent / "bert-base-uncased"
        model = build_groundingdino(config.config_file or "swin_t", encoder if encoder.is_dir() else None)
        missing, _ = model.load_state_dict(_read_weights(checkpoint), strict=False)
        if missing:
            raise ValueError(
                f"detect.model: {checkpoint} lacks {missing[:3]} ...: does detect.config_file name its architecture?"
            )
        return cls(model, config)

    def detect(self, images: Sequence[CaptionedImage]) -> list[list[Detection]]:
        """Detections of the phrases of each image, best first."""
        return detect(images, self._offsets, self._predict, self._config)

    def _offsets(self, text: str) -> Offsets:
        return _token_offsets(self._model.tokenizer, text)

    @torch.inference_mode()
    def _predict(self, questions: Sequence[PromptedImage]) -> Iterator[tuple[Floats, Floats]]:
        images = torch.stack([self._preprocess(asked.image) for asked in questions]).to(self._device)
        with precision(self._device, self._config.dtype):
            outputs = self._model(images, captions=[asked.prompt.text for asked in questions])
        yield from _to_numpy(outputs["pred_logits"], outputs["pred_boxes"])

    def _preprocess(self, image: np.ndarray) -> torch.Tensor:
        from groundingdino.datasets import transforms

        short, long = self._sides
        steps = [
            transforms.RandomResize([short], max_size=long),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
        tensor: torch.Tensor = transforms.Compose(steps)(Image.fromarray(image), None)[0]
        return tensor


def build_groundingdino(architecture: str, text_encoder: Path | None = None, **changes: Any) -> torch.nn.Module:
    """A groundingdino-py model with random weights but for its text encoder.

    Args:
        architecture: `swin_t` or `swin_b`, the configurations that ship with the library.
        text_encoder: local folder of BERT; unset: the hub's bert-base-uncased.
        changes: further settings of the library's configuration.
    """
    if architecture not in _ARCHITECTURES:
        raise ValueError(
            f"detect.config_file: no architecture {architecture!r}{did_you_mean(architecture, _ARCHITECTURES)}: "
            f"choose one of {', '.join(_ARCHITECTURES)}"
        )
    _groundingdino_compat.install()
    import groundingdino
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    settings = SLConfig.fromfile(
        str(Path(groundingdino.__file__).parent / "config" / f"{_ARCHITECTURES[architecture]}.py")
    )
    overlay = {"use_checkpoint": False, "use_transformer_ckpt": False, **changes}
    if text_encoder is not None:
        overlay["text_encoder_type"] = str(text_encoder)
    for key, value in overlay.items():
        setattr(settings, key, value)
    model: torch.nn.Module = build_model(settings)
    for layer in model.get_submodule("transformer.encoder.text_layers").children():
        layer.register_forward_pre_hook(_repeat_mask, with_kwargs=True)
    return model


def _repeat_mask(layer: Any, arguments: Any, keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give the text layers of groundingdino-py 0.4 their masks (B, T, T) once for each head, as (B * heads, T, T).

    The layer repeats them itself, but head by head where attention wants image by image, so that in a batch each
    caption would be masked like its neighbours.
    """
    return arguments, keywords | {"src_mask": keywords["src_mask"].repeat_interleave(layer.nhead, dim=0)}


def _token_offsets(tokenizer: Any, text: str) -> Offsets:
    offsets: Offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return offsets


def _to_numpy(logits: torch.Tensor, boxes: torch.Tensor) -> Iterator[tuple[Floats, Floats]]:
    """Token probabilities and boxes of each image of a batch."""
    probabilities = logits.float().sigmoid().cpu().double().numpy()
    yield from zip(probabilities, boxes.float().cpu().double().numpy(), strict=True)


def _read_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    if checkpoint.suffix == ".safetensors":
        from safetensors.torch import load_file

        weights: dict[str, torch.Tensor] = load_file(checkpoint)
    else:
        loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
        weights = loaded.get("model", loaded)
    return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
