"""Which predictions are shown."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.evaluation import extremes, representative

Kinds = st.lists(st.sampled_from("abc"), min_size=1, max_size=30)


def test_best_median_and_worst() -> None:
    rows = [{"iou": iou / 10, "targets": 1} for iou in np.random.default_rng(0).permutation(11)]
    found = {name: [row["iou"] for row in chosen] for name, chosen in extremes(rows, 3).items()}
    assert found == {"best": [1.0, 0.9, 0.8], "median": [0.6, 0.5, 0.4], "worst": [0.0, 0.1, 0.2]}


def test_queries_without_a_target_are_not_shown() -> None:
    rows = [{"iou": 1.0, "targets": 0}, {"iou": 0.5, "targets": 1}]
    assert extremes(rows, 2) == {"best": [rows[1]], "median": [rows[1]], "worst": [rows[1]]}


@given(Kinds, st.integers(1, 12), st.integers(0, 3))
def test_a_representative_sample_shares_out_the_kinds(kinds: list[str], count: int, seed: int) -> None:
    chosen = representative([{"kind": kind} for kind in kinds], count, seed)
    assert len(chosen) == len(set(chosen)) == min(count, len(kinds))
    drawn = [kinds[index] for index in chosen]
    for kind in set(kinds):
        fair = min(kinds.count(kind), count // len(set(kinds)))
        assert drawn.count(kind) >= fair


def test_the_seed_decides() -> None:
    rows = [{"kind": "a"}] * 50
    assert representative(rows, 5, seed=1) == representative(rows, 5, seed=1) != representative(rows, 5, seed=2)
