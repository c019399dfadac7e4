"""COCO run-length encoding, both ways."""

import numpy as np
from pycocotools import mask as coco

from simpleseg_core.geometry._types import Mask, Rle


def encode_rle(mask: Mask) -> Rle:
    """COCO's compressed RLE of a mask (H, W); `counts` is a str."""
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_rle(rle: Rle) -> Mask:
    """The mask (H, W) of a COCO RLE.

    Raises:
        ValueError: the size or counts are not an RLE.
    """
    try:
        decoded = coco.decode({"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not a COCO RLE ({error}): expected {{'size': [height, width], 'counts': str}}") from error
    return np.ascontiguousarray(decoded).astype(bool)
