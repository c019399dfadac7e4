"""The embedded detector: finds the shapes that a RefShapes caption names, by colour and template, without weights."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from simpleseg_core.annotate._protocols import Box, CaptionedImage, Detection, Image, Mask
from simpleseg_core.refshapes import COLORS, OUTLINES, PALETTE, SHAPES, Phrase

_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_PLURALS = {Phrase(shape=shape).text(plural=True): shape for shape in SHAPES}
_PHRASE = re.compile(
    rf"\b(?:({'|'.join(_NUMBERS)})\s+)?((?:(small|big)\s+)?({'|'.join(COLORS)})\s+({'|'.join((*_PLURALS, *SHAPES))}))\b"
)
_COLOR_REACH = 50.0
"""Greatest RGB distance of a pixel to the colour it is counted as; RefShapes backgrounds keep 55 from every object."""
_MIN_AREA = 0.004
"""Smallest patch considered, as a share of the image."""
_MAX_PATCHES = 12
_GRID = 32
_FILL = 0.3
"""Share of the grid that a normalised patch covers."""
_TURNS = 24


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A phrase of the caption and how many instances it stands for."""

    phrase: Phrase
    span: tuple[int, int]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """One patch of a colour, or two that may be one object."""

    patches: frozenset[int]
    mask: Mask
    scores: dict[str, float]
    """Shape -> IoU with its best fitting template."""


class ShapeDetector:
    """Segments by the palette's colours, then gives each phrase the patches that its shape fits best."""

    name = "embedded/shapes"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def detect(self, images: Sequence[CaptionedImage]) -> list[list[Detection]]:
        """Instances of every "[two] [small] red circle" of the captions; the score is the IoU of patch and template."""
        return [self._detect(image) for image in images]

    def _detect(self, image: CaptionedImage) -> list[Detection]:
        wanted = _parse(image.caption)
        found = [
            detection
            for color in dict.fromkeys(item.phrase.color for item in wanted)
            for detection in _of_color(
                image.image, color or "", [item for item in wanted if item.phrase.color == color]
            )
        ]
        return sorted((item for item in found if item.score >= self.threshold), key=lambda item: -item.score)


def knows(phrase: str) -> bool:
    """Whether the embedded detector can look for a phrase: a colour and a shape of RefShapes."""
    return bool(_parse(phrase))


def _parse(caption: str) -> list[_Wanted]:
    return [
        _Wanted(
            Phrase(match[4], _PLURALS.get(match[5], match[5]), match[3]), match.span(2), _NUMBERS.get(match[1] or "", 1)
        )
        for match in _PHRASE.finditer(caption.lower())
    ]


def _of_color(image: Image, color: str, wanted: Sequence[_Wanted]) -> Iterator[Detection]:
    """Detections of the phrases that share a colour."""
    counts: dict[str, int] = {}
    for item in wanted:
        counts[item.phrase.shape or ""] = counts.get(item.phrase.shape or "", 0) + item.count
    taken = _assign(_candidates(_color_mask(image, color), tuple(counts)), counts)
    for shape, candidates in taken.items():
        same_shape = [item for item in wanted if item.phrase.shape == shape]
        yield from _share_out(candidates, same_shape)


def _color_mask(image: Image, color: str) -> Mask:
    """Pixels whose nearest palette colour is this one, and near enough."""
    palette = np.array(list(PALETTE.values()), np.float32)
    distance = np.linalg.norm(image.astype(np.float32)[:, :, None] - palette, axis=3)
    index = COLORS.index(color)
    mask: Mask = (distance.argmin(axis=2) == index) & (distance[:, :, index] < _COLOR_REACH)
    return mask


def _candidates(mask: Mask, shapes: tuple[str, ...]) -> list[_Candidate]:
    patches = _patches(mask)
    groups = chain(combinations(range(len(patches)), 1), combinations(range(len(patches)), 2))
    unions = [(frozenset(group), np.logical_or.reduce([patches[i] for i in group])) for group in groups]
    return [_Candidate(group, union, _fit(union, shapes)) for group, union in unions]


def _patches(mask: Mask) -> list[Mask]:
    """Connected patches with a solid core, biggest first; blends along the edges of other objects have none."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    cored = set(np.unique(labels[core]).tolist())
    areas = np.bincount(labels.ravel(), minlength=count)
    kept = [i for i in range(1, count) if areas[i] >= _MIN_AREA * mask.size and i in cored]
    kept.sort(key=lambda i: -areas[i])
    return [labels == i for i in kept[:_MAX_PATCHES]]


def _fit(mask: Mask, shapes: tuple[str, ...]) -> dict[str, float]:
    patch = _normalise(mask).ravel()
    scores = {}
    for shape in shapes:
        templates = _templates(shape)
        overlap = np.minimum(templates, patch).sum(axis=1)
        scores[shape] = float((overlap / np.maximum(templates, patch).sum(axis=1)).max())
    return scores


def _normalise(mask: Mask) -> NDArray[np.float32]:
    """The mask moved to the centre of a grid and scaled to a fixed area, values in [0, 1]."""
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    scale = _GRID * (_FILL / moments["m00"]) ** 0.5
    x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    centre = (_GRID - 1) / 2
    matrix = np.array([[scale, 0, centre - scale * x], [0, scale, centre - scale * y]])
    warped = cv2.warpAffine(mask.astype(np.float32), matrix, (_GRID, _GRID), flags=cv2.INTER_AREA)
    return warped.astype(np.float32, copy=False)


@lru_cache(maxsize=len(SHAPES))
def _templates(shape: str) -> NDArray[np.float32]:
    """The shape in all its turns, normalised like a patch, (turns, grid * grid)."""
    outline = OUTLINES[shape]
    turns = np.unique(np.linspace(-outline.turn, outline.turn, _TURNS))
    side = 8 * _GRID
    pictures = []
    for angle in np.radians(turns):
        spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        canvas = np.zeros((side, side), np.uint8)
        rings = [np.rint((ring @ spin * 0.45 + 0.5) * side).astype(np.int32) for ring in outline.rings]
        cv2.fillPoly(canvas, rings, 1)
        pictures.append(_normalise(canvas > 0).ravel())
    return np.stack(pictures)


def _assign(candidates: Sequence[_Candidate], counts: dict[str, int]) -> dict[str, list[tuple[float, _Candidate]]]:
    """Best fits first, each patch used once, no shape more often than the caption says."""
    fits = sorted(
        ((score, i, shape) for i, item in enumerate(candidates) for shape, score in item.scores.items()), reverse=True
    )
    used: set[int] = set()
    taken: dict[str, list[tuple[float, _Candidate]]] = {shape: [] for shape in counts}
    for score, i, shape in fits:
        if len(taken[shape]) < counts[shape] and not used & candidates[i].patches:
            used |= candidates[i].patches
            taken[shape].append((score, candidates[i]))
    return taken


def _share_out(found: Sequence[tuple[float, _Candidate]], wanted: Sequence[_Wanted]) -> Iterator[Detection]:
    """Hand the instances of one colour and shape to its phrases: the small ones first, the big ones last."""
    rank = {"small": 0, None: 1, "big": 2}
    by_size = sorted(found, key=lambda item: int(item[1].mask.sum()))
    places = [item for item in sorted(wanted, key=lambda item: rank[item.phrase.size]) for _ in range(item.count)]
    for (score, candidate), item in zip(by_size, places, strict=False):
        yield Detection(item.phrase.text(), item.span, _box(candidate.mask), score)


def _box(mask: Mask) -> Box:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return float(left / width), float(top / height), float(right / width), float(bottom / height)
