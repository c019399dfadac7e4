"""The values that geometry passes around: masks, polygons and COCO run-length encodings."""

from typing import TypedDict

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
