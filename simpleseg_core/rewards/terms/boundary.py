"""Boundary IoU."""

from simpleseg_core.metrics import boundary_iou
from simpleseg_core.rewards.terms import Answer


def reward(answer: Answer) -> float:
    """Boundary IoU (Cheng et al. 2021, arXiv 2103.16562) with a band of `boundary_width` times the image's diagonal."""
    return boundary_iou(answer.filled, answer.truth, answer.config.boundary_width)
