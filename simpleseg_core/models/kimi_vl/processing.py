"""Images and conversations -> inputs of Kimi-VL."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Resampling
from transformers import BatchFeature, ProcessorMixin
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import SizeDict
from transformers.processing_utils import ImagesKwargs

_LONGEST_SIDE = 512
"""Patches that the tower's rotary positions reach."""


class KimiVLImagesKwargs(ImagesKwargs, total=False):
    """Options of the image processor."""

    patch_size: int
    merge_kernel_size: list[int]
    in_token_limit: int
    max_pixels: int | None


class KimiVLImageProcessor(PilBackend):
    """Native resolution: an image is made smaller where it has too many patches, and padded below and to the right to
    whole tokens."""

    valid_kwargs = KimiVLImagesKwargs
    model_input_names = ["pixel_values", "image_grid_hws"]
    do_convert_rgb = True
    image_mean = [0.5, 0.5, 0.5]
    image_std = [0.5, 0.5, 0.5]
    patch_size = 14
    merge_kernel_size = [2, 2]
    in_token_limit = 4096
    """Patches of an image at most."""
    max_pixels = None
    """Set: the limit, said in pixels."""

    def _standardize_kwargs(self, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        if kwargs.get("max_pixels"):
            kwargs["in_token_limit"] = kwargs["max_pixels"] // kwargs["patch_size"] ** 2
        standard: dict[str, Any] = super()._standardize_kwargs(**kwargs)
        return standard

    def _preprocess(  # type: ignore[override]
        self, images: list[NDArray[np.uint8]], return_tensors: Any = None, **options: Any
    ) -> BatchFeature:
        """Images (3, height, width) -> `pixel_values` (L, 3, side, side) and `image_grid_hws` (N, 2), rows and columns
        of patches."""
        patches = [self._patches(image, options) for image in images]
        data = {
            "pixel_values": torch.cat([each.flatten(0, 1) for each in patches]),
            "image_grid_hws": torch.tensor([each.shape[:2] for each in patches]),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def _patches(self, image: NDArray[np.uint8], options: dict[str, Any]) -> torch.Tensor:
        """(3, height, width) -> (rows, columns, 3, side, side)."""
        side = options["patch_size"]
        fitted = self._padded(self._shrunk(image, side, options["in_token_limit"]), side, options["merge_kernel_size"])
        mean, deviation = (np.array(options[name], np.float32)[:, None, None] for name in ("image_mean", "image_std"))
        values = torch.from_numpy((fitted.astype(np.float32) / 255 - mean) / deviation)
        tiles: torch.Tensor = values.unflatten(2, (-1, side)).unflatten(1, (-1, side))
        return tiles.permute(1, 3, 0, 2, 4)

    def _shrunk(self, image: NDArray[np.uint8], side: int, limit: int) -> NDArray[np.uint8]:
        height, width = image.shape[1:]
        patches = (height // side) * (width // side)
        if patches <= limit:
            return image
        scale = (limit / patches) ** 0.5
        smaller: NDArray[np.uint8] = self.resize(
            image, SizeDict(height=int(height * scale), width=int(width * scale)), resample=Resampling.BICUBIC
        )
        return smaller

    def _padded(self, image: NDArray[np.uint8], side: int, merged: list[int]) -> NDArray[np.uint8]:
        missing = [-length % (side * many) for length, many in zip(image.shape[1:], merged, strict=True)]
        padded = np.pad(image, ((0, 0), (0, missing[0]), (0, missing[1])))
        if max(padded.shape[1:]) >= _LONGEST_SIDE * side:
            raise ValueError(
                f"an image of {padded.shape[2]} x {padded.shape[1]} pixels is longer than the {_LONGEST_SIDE} patches "
                f"of {side} pixels that the model can place: leave it out, or lower model.max_pixels"
            )
        return padded


class KimiVLProcessor(ProcessorMixin):
    """Expands each placeholder to as many as its image has tokens."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **kwargs: Any
    ) -> None:
        self.image_token = "<|media_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(  # type: ignore[no-untyped-call]
            image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template
        )

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """What stands for one image in the text."""
        rows, columns = self.image_processor.merge_kernel_size
        tokens: int = int(image_inputs["image_grid_hws"][image_idx].prod()) // (rows * columns)
        return self.image_token * tokens
