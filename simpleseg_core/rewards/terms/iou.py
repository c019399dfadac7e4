"""Mask IoU."""

from simpleseg_core.rewards.terms import Answer


def reward(answer: Answer) -> float:
    """|P ∩ T| / |P ∪ T|. Self-crossings fill by the even-odd rule and overlapping parts once: neither inflates P."""
    shared = answer.filled.intersection(answer.truth)
    union = answer.filled.area + answer.truth.area - shared
    return shared / union if union else 1.0
