"""COCO's forms of an outline, checked, as RLE."""

from collections.abc import Mapping, Sequence
from math import inf
from numbers import Real
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from simpleseg_core.geometry import Rle
from simpleseg_core.geometry.rle import rle_spans

_OUTSIDE = 4
"""Image sides by which a vertex may lie outside the image."""


def outline_rle(outline: Any, width: int, height: int, path: Path, identifier: Any) -> Rle | None:
    """COCO's forms of an outline as a compressed RLE: polygons, and runs as a list, as a text, or several (refCLEF).

    A polygon may be written as a flat list of numbers or as pairs.

    Returns:
        None where there is no outline, or one that holds no pixel: polygons of two points occur.

    Raises:
        ValueError: none of these forms, or of another size than the image; names the annotation.
    """
    if outline is None or outline == []:
        return None
    try:
        merged = _merged(outline, width, height)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: annotation {identifier}: segmentation is neither polygons nor RLE ({error})"
        ) from error
    if merged is None:
        return None
    if list(merged["size"]) != [height, width]:
        raise ValueError(
            f"{path}: annotation {identifier}: RLE of size {merged['size']} in an image of {[height, width]}"
        )
    return {"size": [height, width], "counts": merged["counts"].decode("ascii")} if coco_mask.area(merged) else None


def may_hold_pixels(outline: Any) -> bool:
    """Whether an outline is more than two points, as far as a look tells: it is neither drawn nor checked."""
    return outline is not None and (not isinstance(outline, list) or _numbers(outline) > 2 * 2)


def _numbers(part: Any) -> float:
    """Numbers in nested lists; endless where there are runs."""
    if isinstance(part, list):
        return sum(map(_numbers, part))
    return inf if isinstance(part, Mapping) else 1


def _merged(outline: Any, width: int, height: int) -> dict[str, Any] | None:
    if isinstance(outline, Mapping):
        return _runs(outline)
    if not isinstance(outline, list):
        raise TypeError(f"it is a {type(outline).__name__}")
    if all(isinstance(part, Mapping) for part in outline):
        merged: dict[str, Any] = coco_mask.merge([_runs(part) for part in outline])
        return merged
    if len(outline) > 2 and all(_is_pair(part) for part in outline):
        outline = [outline]  # one polygon, written as pairs without a list around it
    rings = [_ring(part, width, height) for part in outline]
    drawn = [ring for ring in rings if len(ring) >= 6]
    return coco_mask.merge(coco_mask.frPyObjects(drawn, height, width)) if drawn else None


def _is_pair(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and not any(isinstance(each, list) for each in part)


def _ring(ring: Any, width: int, height: int) -> list[float]:
    """A polygon as x, y, x, y, ..., that pycocotools can draw.

    It takes memory for every pixel of a ring's length, NaN for a number, and drops the last number of an odd count.
    """
    if not isinstance(ring, list):
        raise TypeError(f"a polygon is a {type(ring).__name__}, not a list of numbers")
    flat = [side for pair in ring for side in pair] if ring and all(_is_pair(part) for part in ring) else ring
    if len(flat) % 2:
        raise ValueError(f"a polygon has {len(flat)} numbers: one of a pair is missing")
    limit = _OUTSIDE * max(width, height)
    if not all(_is_number(side) for side in flat):
        raise ValueError("a coordinate is not a number")
    if not all(-limit <= side <= limit for side in flat):
        raise ValueError(f"a coordinate lies more than {limit} pixels outside the image")
    return flat


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _runs(runs: Mapping[str, Any]) -> dict[str, Any]:
    """An RLE, checked: pycocotools believes every run length it is given."""
    size, counts = runs["size"], runs["counts"]
    if not isinstance(size, Sequence) or len(size) != 2 or not all(type(side) is int for side in size):
        raise ValueError(f"its size is {size}, not [height, width]")
    if isinstance(counts, list):
        if not all(type(run) is int for run in counts) or sum(counts) != size[0] * size[1] or min(counts) < 0:
            raise ValueError(f"its counts do not add up to {size[0]} x {size[1]} pixels")
        counts = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    text = counts if isinstance(counts, str) else counts.decode("ascii")
    rle_spans({"size": list(size), "counts": text})
    return {"size": list(size), "counts": text.encode("ascii")}
