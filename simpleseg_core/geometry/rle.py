"""COCO run-length encoding, both ways."""

import numpy as np

from simpleseg_core.geometry import _runs
from simpleseg_core.geometry._types import Mask, Rle, as_mask


def encode_rle(mask: Mask) -> Rle:
    """COCO's compressed RLE of a mask (H, W); `counts` is a str."""
    mask = as_mask(mask)
    height, width = mask.shape
    counts = _runs.spans_to_text(_runs.mask_spans(mask), height * width).tobytes().decode("ascii")
    return {"size": [height, width], "counts": counts}


def decode_rle(rle: Rle) -> Mask:
    """The mask (H, W) of a COCO RLE.

    Raises:
        ValueError: the size or counts are not an RLE.
    """
    height, width = rle_size(rle)
    return _runs.spans_to_mask(rle_spans(rle), height, width)


def rle_size(rle: Rle) -> tuple[int, int]:
    """Height and width of a COCO RLE in pixels.

    Raises:
        ValueError: no usable size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a COCO RLE: its `size` is not [height, width] ({error!r})") from error
    if height < 0 or width < 0:
        raise ValueError(f"not a COCO RLE: its size {height} x {width} is negative")
    return height, width


def rle_spans(rle: Rle) -> _runs.Spans:
    """Spans of a COCO RLE.

    Raises:
        ValueError: the counts are not a compressed RLE of that size.
    """
    height, width = rle_size(rle)
    counts = rle.get("counts")
    if not isinstance(counts, str | bytes):
        raise ValueError("not a compressed COCO RLE: its `counts` are not text; compress them with pycocotools first")
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    spans = _runs.text_to_spans(np.frombuffer(text, np.uint8), height * width)
    if len(spans) == 1:
        raise ValueError(f"not a COCO RLE: its `counts` do not add up to {height} x {width} pixels")
    return spans
