"""The values that geometry passes around: masks, polygons and COCO run-length encodings."""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""(H, W), true inside."""

Polygon = NDArray[np.float64]
"""(N, 2) vertices x, y, normalised to [0, 1] on pixel edges; closed without repeating the first vertex."""


class Rle(TypedDict):
    """COCO's compressed run-length encoding; `counts` is text, so that the value fits JSON and parquet."""

    size: list[int]
    counts: str


def as_mask(pixels: NDArray[Any]) -> Mask:
    """A mask (H, W) of bool, of whole numbers (0 is outside) or of the floats 0 and 1.

    Raises:
        ValueError: not two dimensions, or values that are no mask, such as probabilities.
    """
    if pixels.ndim != 2:
        raise ValueError(f"a mask of shape {pixels.shape}: it has two sides, height and width")
    if pixels.dtype == np.bool_:
        return pixels
    inside: Mask = pixels != 0
    if pixels.dtype.kind not in "iu" and not np.array_equal(pixels, inside):
        raise ValueError(f"a mask of {pixels.dtype} with values other than 0 and 1: compare it with a threshold first")
    return inside
