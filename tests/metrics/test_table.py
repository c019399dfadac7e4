"""The table of metrics: every entry is the plain mean or ratio that its explanation says."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from simpleseg_core.data.records import PREDICTIONS
from simpleseg_core.geometry import mask_to_polygons
from simpleseg_core.metrics import HEADLINES, METRICS, Predictions, SampleScore, score_sample
from tests.geometry.shapes_zoo import blob

NOTHING = np.zeros((48, 64), bool)


@pytest.fixture(scope="module")
def scores() -> list[SampleScore]:
    pairs = [(blob(seed), blob(seed + seed % 3)) for seed in range(12)]
    answered = [score_sample(mask_to_polygons(a), b, tokens=10 + i) for i, (a, b) in enumerate(pairs)]
    others = [("[]", NOTHING), ("?", NOTHING), ("[]", blob(1))]
    return [*answered, *(score_sample(text, mask, tokens=1) for text, mask in others)]


def table_of(scores: list[SampleScore]) -> dict[str, float]:
    rows = [
        asdict(score) | {"sample": str(n), "kind": "", "width": 64, "height": 48, "targets": int(not score.truth_empty)}
        for n, score in enumerate(scores)
    ]
    found, table = Predictions.from_rows(rows), {}
    for name, metric in METRICS.items():
        part = found if metric.counted is None else found.where(metric.counted(found))
        if len(part):
            over = float(len(part) if metric.weights is None else metric.weights(part).sum())
            table[name] = metric.scale * float(metric.values(part).sum()) / max(over, 1.0)
    return table


def test_overlaps_are_means_and_ratios(scores: list[SampleScore]) -> None:
    table, ious = table_of(scores), np.array([score.iou for score in scores])
    assert table["giou"] == pytest.approx(100 * ious.mean())
    assert table["ciou"] == pytest.approx(100 * sum(s.intersection for s in scores) / sum(s.union for s in scores))
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert table[f"p{round(100 * threshold)}"] == pytest.approx(100 * (ious >= threshold).mean())


def test_shares_have_their_own_denominators(scores: list[SampleScore]) -> None:
    table, present = table_of(scores), [score for score in scores if not score.truth_empty]
    assert table["valid"] == pytest.approx(100 * 14 / 15)
    assert table["n_acc"] == pytest.approx(100 / 2)
    assert table["t_acc"] == pytest.approx(100 * 12 / 13)
    assert table["tokens"] == pytest.approx(np.mean([*range(10, 22), 1, 1, 1]))
    for threshold in (0.5, 0.8):
        expected = np.mean([score.box_iou >= threshold for score in present])
        assert table[f"acc{round(100 * threshold)}"] == pytest.approx(100 * expected)


def test_distances_count_pairs_of_outlines_only(scores: list[SampleScore]) -> None:
    table, both = table_of(scores), [score for score in scores if np.isfinite(score.chamfer)]
    assert len(both) == 12
    assert table["chamfer"] == pytest.approx(np.mean([score.chamfer for score in both]))
    assert table["hausdorff"] == pytest.approx(np.mean([score.hausdorff for score in both]))
    assert not {"chamfer", "hausdorff", "acc50", "t_acc"} & table_of([score_sample("[]", NOTHING, tokens=1)]).keys()


def test_every_score_is_kept_with_the_answer() -> None:
    assert {field.name for field in fields(SampleScore)} <= set(PREDICTIONS.names)


def test_the_small_tables_show_a_part_of_the_table() -> None:
    assert list(HEADLINES) == ["giou", "ciou", "acc50", "valid", "tokens"]
