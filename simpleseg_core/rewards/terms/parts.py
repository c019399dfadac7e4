"""As many polygons as the truth has parts."""

from simpleseg_core.geometry import Region
from simpleseg_core.rewards.terms import Answer


def reward(answer: Answer) -> float:
    """min(a, b) / max(a, b) of the polygons that fill something and the connected parts of T."""
    filled, truth = answer.filled, answer.truth
    if not filled.area or not truth.area:
        return float(filled.area == truth.area)
    found = sum(Region.from_polygons([polygon], truth.height, truth.width).area > 0 for polygon in answer.polygons)
    expected = truth.parts()
    return min(found, expected) / max(found, expected)
