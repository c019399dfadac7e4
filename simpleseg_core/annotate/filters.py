"""Which masks are worth training on, and their polygons: filters in a fixed order, each rejection with its reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.annotate._protocols import Box, Mask
from simpleseg_core.annotate.boxes import box_iou
from simpleseg_core.config import ContourConfig
from simpleseg_core.geometry import Polygon, interior_point, mask_box, polygons_mask_iou
from simpleseg_core.instructions.labels import outline

REASONS: tuple[str, ...] = (
    "score", "area", "box", "predicted_iou", "stability", "duplicate", "similarity", "outline", "roundtrip", "cap"
)  # fmt: skip
"""Why an instance is dropped, in the order in which the filters run; the first that applies counts. `cap` drops those
whose outline would pass if it could have more points than the cap."""
_STRAY = 0.05
"""Parts smaller than this share of the largest are specks."""
_PIN_HOLE = 0.02
"""Holes smaller than this share of the mask are closed."""
_CONTAINED = 0.95
"""Share of a mask inside another of the same phrase that makes it a nested duplicate."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskCandidate:
    """A segmented instance before the filters."""

    phrase: str
    box: Box
    score: float
    mask: Mask
    predicted_iou: float
    stability: float
    similarity: float | None = None
    """Of phrase and crop; None where no model was asked."""


@dataclass(frozen=True, slots=True, eq=False)
class Contoured:
    """An instance that passed, by the index of its candidate: cleaned mask, a point inside, polygons."""

    index: int
    mask: Mask
    point: tuple[float, float]
    polygons: list[Polygon]
    roundtrip_iou: float


def contour_image(
    candidates: Sequence[MaskCandidate], config: ContourConfig, rng: np.random.Generator | None = None
) -> tuple[list[Contoured], dict[str, int]]:
    """Filter the instances of one image and outline those that remain.

    Returns:
        What passed, in the order of the candidates, and how many were dropped for each of `REASONS`.
    """
    cleaned = [replace(item, mask=clean(item.mask)) for item in candidates]
    reasons = {index: reason for index, item in enumerate(cleaned) if (reason := _reject(item, config))}
    alive = [index for index in range(len(cleaned)) if index not in reasons]
    reasons |= dict.fromkeys(_duplicates(cleaned, alive, config.duplicate_iou), "duplicate")
    alive = [index for index in alive if index not in reasons]
    reasons |= dict.fromkeys((index for index in alive if _unlike(cleaned[index], config)), "similarity")
    passed = []
    for index in (index for index in alive if index not in reasons):
        result = _contour(index, cleaned[index].mask, config, rng)
        if isinstance(result, Contoured):
            passed.append(result)
        else:
            reasons[index] = result
    dropped = list(reasons.values())
    return passed, {reason: dropped.count(reason) for reason in REASONS if reason in dropped}


def funnel(detected: int, dropped: Mapping[str, float]) -> list[dict[str, object]]:
    """The filters as a table: how many each dropped and how many were left."""
    rows: list[dict[str, object]] = [{"filter": "detected", "dropped": 0, "kept": detected}]
    left = detected
    for reason in REASONS:
        left -= int(dropped.get(reason, 0))
        rows.append({"filter": reason, "dropped": int(dropped.get(reason, 0)), "kept": left})
    return rows


def clean(mask: Mask) -> Mask:
    """The mask (H, W) without specks (8-connected) and pin-holes (4-connected)."""
    box = mask_box(mask)
    if box is None:
        return mask
    height, width = mask.shape
    left, top, right, bottom = (round(side) for side in box * [width, height, width, height])
    # One pixel of background around the box tells its outside from a hole.
    inside = np.pad(mask[top:bottom, left:right], 1)
    closing = True
    while closing:  # a closed hole makes the mask larger, and with it what is small beside it
        parts, areas = _label(inside, connectivity=8)
        solid = inside & (areas >= _STRAY * areas[1:].max())[parts]
        holes, areas = _label(~solid, connectivity=4)
        inside = solid | (areas < _PIN_HOLE * int(solid.sum()))[holes]
        closing = not np.array_equal(inside, solid)
    cleaned = np.zeros_like(mask)
    cleaned[top:bottom, left:right] = inside[1:-1, 1:-1]
    return cleaned


def _label(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number of the part that each pixel belongs to, 0 outside, and the area of each number."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    return labels.astype(np.int32, copy=False), stats[:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)


def _reject(item: MaskCandidate, config: ContourConfig) -> str | None:
    """The first of the filters on a single instance that drops it."""
    return next((reason for reason, fails in _SINGLE.items() if fails(item, config)), None)


def _area_fails(item: MaskCandidate, config: ContourConfig) -> bool:
    return not config.min_area <= item.mask.mean() <= config.max_area or not item.mask.any()


def _box_fails(item: MaskCandidate, config: ContourConfig) -> bool:
    box = mask_box(item.mask)
    return box is None or box_iou(box.tolist(), item.box) < config.min_box_iou


_SINGLE: dict[str, Callable[[MaskCandidate, ContourConfig], bool]] = {
    "score": lambda item, config: item.score < config.min_score,
    "area": _area_fails,
    "box": _box_fails,
    "predicted_iou": lambda item, config: item.predicted_iou < config.min_predicted_iou,
    "stability": lambda item, config: item.stability < config.min_stability,
}


def _duplicates(items: Sequence[MaskCandidate], alive: Sequence[int], limit: float) -> Iterator[int]:
    """Instances that repeat a better one: masks that overlap, or that lie in one of the same phrase."""
    kept: list[int] = []
    for index in sorted(alive, key=lambda i: -items[i].score):
        if any(_repeats(items[index], items[better], limit) for better in kept):
            yield index
        else:
            kept.append(index)


def _repeats(item: MaskCandidate, better: MaskCandidate, limit: float) -> bool:
    common = int((item.mask & better.mask).sum())
    areas = int(item.mask.sum()), int(better.mask.sum())
    nested = item.phrase == better.phrase and common > _CONTAINED * min(areas)
    return nested or common > limit * (sum(areas) - common)


def _unlike(item: MaskCandidate, config: ContourConfig) -> bool:
    if config.min_similarity is None:
        return False
    if item.similarity is None:
        raise ValueError("contour.min_similarity: the masks carry no similarities: name a CLIP in segment.clip")
    return item.similarity < config.min_similarity


def _contour(index: int, mask: Mask, config: ContourConfig, rng: np.random.Generator | None) -> Contoured | str:
    """Outline a mask, or say why that fails."""
    polygons = outline(mask, config, rng)
    if not polygons:
        return "outline"
    iou = polygons_mask_iou(polygons, mask)
    if iou < config.min_roundtrip_iou:
        return "cap" if config.max_points and _passes_uncapped(mask, config, rng) else "roundtrip"
    x, y = interior_point(mask).tolist()
    return Contoured(index, mask, (x, y), polygons, iou)


def _passes_uncapped(mask: Mask, config: ContourConfig, rng: np.random.Generator | None) -> bool:
    uncapped = outline(mask, config.model_copy(update={"max_points": None}), rng)
    return polygons_mask_iou(uncapped, mask) >= config.min_roundtrip_iou
