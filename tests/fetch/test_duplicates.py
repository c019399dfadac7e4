"""Of images that look alike the first is kept, as a search through all pairs would have it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.fetch._hamming import _masks, earlier_twins


def by_brute_force(hashes: list[int], bits: int) -> list[int]:
    twins: list[int] = []
    for index, value in enumerate(hashes):
        kept = (i for i in range(index) if twins[i] < 0 and (hashes[i] ^ value).bit_count() <= bits)
        twins.append(next(kept, -1))
    return twins


near = st.builds(
    lambda base, flips: base ^ sum(1 << bit for bit in flips), st.sampled_from([0, 2**64 - 1, 0x0F1E2D3C4B5A6978]),
    st.sets(st.integers(0, 63), max_size=4),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(near, max_size=25), st.integers(0, 6))
def test_twins_are_those_of_all_pairs(hashes: list[int], bits: int) -> None:
    assert earlier_twins(np.array(hashes, np.uint64), bits).tolist() == by_brute_force(hashes, bits)


def test_many_equal_images_cost_no_quadratic_time() -> None:
    hashes = np.zeros(200_000, np.uint64)
    assert earlier_twins(hashes, 4).tolist() == [-1] + [0] * 199_999


@pytest.mark.parametrize("bits", [0, 4])
def test_random_images_have_no_twins(bits: int) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 3000, dtype=np.uint64)
    assert (earlier_twins(hashes, bits) == -1).all()


@pytest.mark.parametrize("count", [100, 60_000, 1_000_000, 100_000_000])
@pytest.mark.parametrize("bits", [0, 1, 4, 6, 16])
def test_close_hashes_agree_in_the_key_of_some_table(bits: int, count: int) -> None:
    masks = [int(mask) for mask in _masks(count, bits)]
    rng = np.random.default_rng(bits)
    for _ in range(200):
        difference = sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False))
        assert any(not difference & mask for mask in masks)


def test_a_million_hashes_are_compared_with_few_others() -> None:
    """Families of close hashes among strangers: their heads are kept, and the work stays far below all pairs."""
    rng = np.random.default_rng(0)
    heads = rng.integers(0, 2**63, 300_000, dtype=np.uint64)
    copies = heads ^ (np.uint64(1) << rng.integers(0, 64, len(heads)).astype(np.uint64))
    twins = earlier_twins(np.concatenate([heads, copies]), 4)
    assert (twins[: len(heads)] == -1).all()
    assert twins[len(heads) :].tolist() == list(range(len(heads)))
