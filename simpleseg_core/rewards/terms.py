"""The terms of the reward: pure functions into [0, 1], each with its formula.

P is what the answer fills, T the truth. Where T is empty or P is, nothing is left to measure: every geometric term is 1
when both are, else 0.
"""

from collections.abc import Sequence

from simpleseg_core.geometry import Polygon, Region, connected_parts, crosses_itself
from simpleseg_core.grammar import Style, parse_polygons
from simpleseg_core.metrics import boundary_iou

_OVERLAP = 0.05
_AREA_RATIO = 4.0


def iou_term(prediction: Region, truth: Region) -> float:
    """|P ∩ T| / |P ∪ T|. Self-crossings fill by the even-odd rule and overlapping parts once: neither inflates P."""
    shared = prediction.intersection(truth)
    union = prediction.area + truth.area - shared
    return shared / union if union else 1.0


def distance_term(prediction: Region, truth: Region) -> float:
    """1 - |c(P) - c(T)|² / 2, with centroids c in [0, 1]²: SimpleSeg's mean squared error between centroids.

    0 where P is more than 4 times larger or smaller than T: a whole-image polygon has a good centroid for free.
    """
    ours, theirs = prediction.centroid(), truth.centroid()
    if ours is None or theirs is None:
        return float(ours is None and theirs is None)
    if not 1 / _AREA_RATIO <= prediction.area / truth.area <= _AREA_RATIO:
        return 0.0
    return 1.0 - float(((ours - theirs) ** 2).sum()) / 2


def format_term(text: str, prediction: Region, style: Style) -> float:
    """1 when the text is exactly in the grammar and its polygons neither cross themselves nor overlap by over 5%."""
    parsed = parse_polygons(text, strict=True, style=style)
    if parsed.error is not None or any(map(crosses_itself, parsed.polygons)):
        return 0.0
    if len(parsed.polygons) < 2:
        return 1.0
    size = prediction.height, prediction.width
    together = sum(Region.from_polygons([polygon], *size).area for polygon in parsed.polygons)
    return float(together <= prediction.area * (1 + _OVERLAP))


def length_term(points: int, prediction: Region, truth: Region, max_points: int) -> float:
    """1 - points / max_points, at least 0; what says wrongly that nothing is there earns nothing by being short."""
    if bool(prediction.area) != bool(truth.area):
        return 0.0
    return max(0.0, 1.0 - points / max_points)


def boundary_term(prediction: Region, truth: Region, width: float) -> float:
    """Boundary IoU (Cheng et al. 2021, arXiv 2103.16562) with a band of `width` times the image's diagonal."""
    return boundary_iou(prediction, truth, width)


def parts_term(polygons: Sequence[Polygon], prediction: Region, truth: Region) -> float:
    """min(a, b) / max(a, b) of the polygons that fill something and the connected parts of T."""
    if not prediction.area or not truth.area:
        return float(prediction.area == truth.area)
    size = truth.height, truth.width
    found = sum(Region.from_polygons([polygon], *size).area > 0 for polygon in polygons)
    expected = len(connected_parts(truth.mask()))
    return min(found, expected) / max(found, expected)
