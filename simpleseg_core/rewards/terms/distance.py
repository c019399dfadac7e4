"""Closeness of the centroids."""

from simpleseg_core.rewards.terms import Answer

_AREA_RATIO = 4.0


def reward(answer: Answer) -> float:
    """1 - |c(P) - c(T)|² / 2, with centroids c in [0, 1]²: SimpleSeg's mean squared error between centroids.

    0 where P is more than 4 times larger or smaller than T: a whole-image polygon has a good centroid for free.
    """
    ours, theirs = answer.filled.centroid(), answer.truth.centroid()
    if ours is None or theirs is None:
        return float(ours is None and theirs is None)
    if not 1 / _AREA_RATIO <= answer.filled.area / answer.truth.area <= _AREA_RATIO:
        return 0.0
    return 1.0 - float(((ours - theirs) ** 2).sum()) / 2
