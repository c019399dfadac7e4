"""A strictly well-formed answer."""

from simpleseg_core.geometry import Region, crosses_itself
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.rewards.terms import Answer

_OVERLAP = 0.05


def reward(answer: Answer) -> float:
    """1 when the text is exactly in the grammar and its polygons neither cross themselves nor overlap by over 5%."""
    parsed = parse_polygons(answer.text, strict=True, style=answer.config.style)
    if parsed.error is not None or any(map(crosses_itself, parsed.polygons)):
        return 0.0
    if len(parsed.polygons) < 2:
        return 1.0
    size = answer.filled.height, answer.filled.width
    together = sum(Region.from_polygons([polygon], *size).area for polygon in parsed.polygons)
    return float(together <= answer.filled.area * (1 + _OVERLAP))
