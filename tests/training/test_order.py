"""The order of samples: the same for a seed, whole in each epoch, and cheap at any length."""

from collections.abc import Sequence

import numpy as np
import pytest

from simpleseg_core.training.order import EpochOrder


def test_an_epoch_is_the_permutation_of_its_seed_and_number() -> None:
    """Runs that were begun before go on in the order that they had."""
    expected = [int(i) for epoch in (0, 1) for i in np.random.default_rng([7, epoch]).permutation(11)]
    assert EpochOrder(11, 7).take(0, 22) == expected


def test_a_permutation_is_drawn_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[Sequence[int]]()
    generator = np.random.default_rng

    def counting(seed: Sequence[int]) -> np.random.Generator:
        drawn.append(seed)
        return generator(seed)

    monkeypatch.setattr(np.random, "default_rng", counting)
    order = EpochOrder(500, 1234)
    for position in [*range(400), 501, 499, 502, 498]:  # a sorted batch reaches to and fro over an epoch's end
        order[position]
    assert drawn == [[1234, 0], [1234, 1]]
