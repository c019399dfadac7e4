"""The order in which samples come: every epoch a new permutation, and any position of it at once."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class EpochOrder:
    """Endless indices of a table; addressed by position, so that a run can go on anywhere."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed

    def __getitem__(self, position: int) -> int:
        """The index at a position, counted over all epochs."""
        epoch, offset = divmod(position, self._count)
        return int(_permutation(self._count, self._seed, epoch)[offset])

    def take(self, cursor: int, size: int) -> list[int]:
        """The indices at positions cursor, ..., cursor + size - 1."""
        return [self[position] for position in range(cursor, cursor + size)]


@lru_cache(maxsize=2)  # a batch may reach into the next epoch
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
