"""The outline of an object in a row of the tables: mask and polygons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simpleseg_core.geometry import Mask, Polygon, Rle, decode_rle

Row = Mapping[str, Any]


def row_rle(row: Row) -> Rle:
    """The COCO RLE of a row with `height`, `width` and `rle_counts`."""
    return {"size": [row["height"], row["width"]], "counts": row["rle_counts"]}


def row_mask(row: Row) -> Mask:
    """The mask (H, W) of a row with `height`, `width` and `rle_counts`.

    Raises:
        ValueError: the counts are not an RLE of that size.
    """
    return decode_rle(row_rle(row))


def row_polygons(row: Row) -> list[Polygon]:
    """The polygons of a row of POLYGONS or DESCRIPTIONS, each (N, 2), normalised."""
    return [np.array(polygon, np.float64) for polygon in row["polygons"]]
