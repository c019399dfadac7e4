"""Runs side by side: which queries are paired, what changed most, and conditions that fail a comparison."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.evaluation import Gate, compare_runs, comparison_json, failures
from tests.evaluation.test_summary import make_row


def answers(*ious: float, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    query = {"question": "?", "height": 10, "rle_counts": "a", **changes}
    return {"shapes/val": [make_row(index, iou, **query) for index, iou in enumerate(ious)]}


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_run_does_not_differ_from_itself(ious: list[float]) -> None:
    (found,) = compare_runs({"a": answers(*ious), "b": answers(*ious)}, samples=50)
    assert (found.queries, found.left_out) == (len(ious), 0)
    for part in (found.whole, *found.parts):
        assert all(each.mean == 0 and each.verdict == "unclear" for each in part.differences["b"].values())
    assert found.changed("b", 3) == ([], [])


def test_differences_are_over_the_first_run_and_parts_add_up_to_the_whole() -> None:
    old, new = answers(0.1, 0.2, 0.3, 0.4), answers(0.2, 0.3, 0.4, 0.5)
    for table in (old, new):
        table["shapes/val"][3]["kind"] = "place"
    (found,) = compare_runs({"old": old, "new": new}, samples=50)
    assert found.whole.differences["new"]["giou"].mean == pytest.approx(10)
    kinds = {part.name: part.count for part in found.parts if part.group == "kind of query"}
    assert kinds == {"attribute": 3, "place": 1}
    assert comparison_json([found])["shapes/val"]["differences"]["new"]["giou"]["verdict"] == "better"


def test_only_queries_that_every_run_answered_of_the_same_mask_are_paired() -> None:
    old, new = answers(0.1, 0.2, 0.3), answers(0.9, 0.9)
    new["shapes/val"][1]["rle_counts"] = "another mask"
    new["shapes/val"].reverse()
    (found,) = compare_runs({"old": old, "new": new}, samples=50)
    assert [[row["iou"] for row in rows] for rows in found.rows.values()] == [[0.1], [0.9]]
    assert (found.queries, found.left_out) == (1, 2)


def test_what_changed_most_comes_first() -> None:
    (found,) = compare_runs({"a": answers(0.5, 0.5, 0.5, 0.5, 0.5), "b": answers(0.9, 0.4, 0.5, 0.1, 0.6)}, samples=50)
    assert found.changed("b", 2) == ([3, 1], [0, 4])
    assert found.changed("b", 9) == ([3, 1], [0, 4])


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({"a": answers(1.0)}, "two runs"),
        (
            {"a": answers(1.0), "b": {"coco/val": answers(1.0)["shapes/val"]}},
            "no query in common.*a: shapes/val; b: coco",
        ),
        ({"a": answers(1.0), "b": answers(1.0, question="!")}, "no query in common"),
    ],
)
def test_what_cannot_be_compared_is_named(runs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compare_runs(runs)


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("giou < -1", True),
        ("giou<=-9.9", True),
        ("giou.high < 0", True),
        ("giou < -11", False),
        ("giou.low < -10.5", False),
        ("tokens > 0", False),
        ("tokens >= +0.0", True),
        ("n_acc < 0", True),  # applies to none of these queries: what is not measured has not passed
    ],
)
def test_a_gate_reads_the_difference_and_the_ends_of_its_interval(condition: str, fails: bool) -> None:
    found = compare_runs({"a": answers(*[0.5] * 9), "b": answers(*[0.4] * 9)}, samples=50)
    assert bool(list(failures([Gate.parse(condition)], found))) is fails


@pytest.mark.parametrize("condition", ["giou", "giou < one", "giou = 1", "giou.mean < 1", "gious < 1", "giou < 1e3 x"])
def test_a_condition_of_another_form_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match=r"--fail-if .*(expected a metric|did you mean `giou`)"):
        Gate.parse(condition)
