"""Which of many 64-bit hashes lie close to an earlier one: a search that looks at few pairs."""

from itertools import combinations, pairwise
from math import comb

import numpy as np

from simpleseg_core.geometry._compile import compiled

_BITS = 64
_MOST_TABLES = 64
_LOOKUP = 4
"""What it costs to look into a table, in comparisons of two hashes."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Multiplicative hashing (Knuth): the upper bits of the product depend on all bits of a key."""


def earlier_twins(hashes: np.ndarray, bits: int) -> np.ndarray:
    """For each uint64 hash the index of the first earlier one that is kept and differs in at most `bits` bits, else -1.

    Hashes are visited in order; one that has a twin is dropped and is nobody's twin itself. Two hashes that differ in
    at most `bits` bits agree in `k` or more of `bits + k` blocks, so each choice of `k` blocks is the key of a hash
    table (Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", 2007). Memory is 60 to 250 bytes
    a hash; only kept hashes are compared with, so that many alike cost no more than one.
    """
    masks = _masks(len(hashes), bits)
    slot_bits = max(1, len(hashes).bit_length())
    heads = np.full((len(masks), 1 << slot_bits), -1, np.int32)
    following = np.empty((len(hashes), len(masks)), np.int32)
    return _search(hashes, masks, bits, np.uint64(_BITS - slot_bits), heads, following)


def _masks(count: int, bits: int) -> np.ndarray:
    """The keys of the tables as bit masks: as many blocks together as make the search of `count` hashes cheapest."""

    def cost(chosen: int) -> float:
        load = count / 2 ** (_BITS * chosen / (bits + chosen))
        return comb(bits + chosen, chosen) * (_LOOKUP + load)

    fitting = [chosen for chosen in range(1, 5) if comb(bits + chosen, chosen) <= _MOST_TABLES]
    chosen = min(fitting, key=cost)
    edges = np.linspace(0, _BITS, bits + chosen + 1).astype(int)
    blocks = [(1 << int(high)) - (1 << int(low)) for low, high in pairwise(edges)]
    return np.array([sum(choice) for choice in combinations(blocks, chosen)], np.uint64)


@compiled
def _search(
    hashes: np.ndarray, masks: np.ndarray, bits: int, shift: np.uint64, heads: np.ndarray, following: np.ndarray
) -> np.ndarray:
    """Visit the hashes in order; `heads[table, slot]` starts a chain of kept ones, `following` goes on."""
    twins = np.full(len(hashes), -1, np.int64)
    slots = np.empty(len(masks), np.int64)
    for index in range(len(hashes)):
        first = index
        for table in range(len(masks)):
            slots[table] = ((hashes[index] & masks[table]) * _SPREAD) >> shift
            other = heads[table, slots[table]]
            while other >= 0:
                if other < first and _differ_in_at_most(bits, hashes[index] ^ hashes[other]):
                    first = other
                other = following[other, table]
        if first < index:
            twins[index] = first
            continue
        for table in range(len(masks)):
            following[index, table] = heads[table, slots[table]]
            heads[table, slots[table]] = index
    return twins


@compiled
def _differ_in_at_most(bits: int, difference: np.uint64) -> bool:
    for _ in range(bits):
        if difference == 0:
            return True
        difference &= difference - np.uint64(1)
    return bool(difference == np.uint64(0))
