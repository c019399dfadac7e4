"""The terms of the reward, one file each: a pure function `reward` of an answer into [0, 1], with its formula.

P is what the answer fills, T the truth. Where T is empty or P is, nothing is left to measure: every geometric term is 1
when both are, else 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.geometry import Polygon, Region


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that can be read, beside the truth."""

    text: str
    polygons: Sequence[Polygon]
    """Each (N, 2), normalised to [0, 1]."""
    filled: Region
    """P."""
    truth: Region
    """T, of the same size."""
    config: RewardConfig

    @property
    def points(self) -> int:
        """Vertices of all polygons."""
        return sum(map(len, self.polygons))


Term = Callable[[Answer], float]
