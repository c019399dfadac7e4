"""Few points."""

from simpleseg_core.rewards.terms import Answer


def reward(answer: Answer) -> float:
    """1 - points / max_points, at least 0; what says wrongly that nothing is there earns nothing by being short."""
    if bool(answer.filled.area) != bool(answer.truth.area):
        return 0.0
    return max(0.0, 1.0 - answer.points / answer.config.max_points)
