"""Rows are filtered and cut into shards: each row once, in order, with room for as many images as were asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.config import FilterConfig
from simpleseg_core.fetch._filters import refused_by_filters
from simpleseg_core.fetch._metadata import url_key
from simpleseg_core.fetch._plan import KeySet, write_plan
from simpleseg_core.fetch._schemas import METADATA

ROW = {
    "width": 400,
    "height": 300,
    "similarity": 0.3,
    "punsafe": 0.01,
    "watermark": 0.1,
    "language": "en",
    "license": "CC0",
}


def table(*rows: dict[str, Any]) -> pa.Table:
    full = [
        {"url": f"u{i}", "text": "a cat", "key": url_key(row.get("url", f"u{i}"))} | row for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(full, METADATA)


@pytest.mark.parametrize(
    ("filters", "passes", "fails", "status"),
    [
        ({"min_side": 300}, {}, {"height": 299}, "filtered_size"),
        ({"max_aspect": 2.0}, {"width": 600}, {"width": 601}, "filtered_aspect"),
        ({"min_similarity": 0.3}, {"similarity": 0.31}, {"similarity": 0.29}, "filtered_similarity"),
        ({"max_punsafe": 0.1}, {"punsafe": 0.05}, {"punsafe": 0.2}, "filtered_safety"),
        ({"max_watermark": 0.5}, {"watermark": 0.4}, {"watermark": 0.6}, "filtered_watermark"),
        ({"min_text_length": 3}, {"text": "cat"}, {"text": "hm"}, "filtered_text"),
        ({"max_text_length": 3}, {"text": "üüü"}, {"text": "long"}, "filtered_text"),
        ({"languages": ("en", "de")}, {"language": "de"}, {"language": "fr"}, "filtered_language"),
        ({"licenses": ("CC0",)}, {}, {"license": "?"}, "filtered_license"),
    ],
)
def test_thresholds(filters: dict[str, Any], passes: dict[str, Any], fails: dict[str, Any], status: str) -> None:
    missing = dict.fromkeys(fails)
    rows = table(ROW | passes, ROW | fails, ROW | missing)
    assert refused_by_filters(rows, FilterConfig(**filters)).to_pylist() == [None, status, status]


def test_without_thresholds_everything_passes_and_unsafe_content_can_be_let_in_on_purpose() -> None:
    rows = table({}, ROW | {"punsafe": 1.0})
    for filters in (FilterConfig(), FilterConfig(max_punsafe="off")):
        assert refused_by_filters(rows, filters).to_pylist() == [None, None]


def plan(folder: Path, tables: list[pa.Table], size: int, **filters: Any) -> list[list[dict[str, Any]]]:
    write_plan(tables, FilterConfig(**filters), size, KeySet(), 0, folder / "plan")
    return [pq.read_table(file).to_pylist() for file in sorted((folder / "plan").glob("*.parquet"))]


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=5), st.integers(1, 7))
def test_every_row_is_in_one_shard_in_order(tmp_path_factory: pytest.TempPathFactory, kinds: Any, size: int) -> None:
    names = iter(range(1000))
    tables = [table(*[ROW | {"url": f"x{next(names)}", "punsafe": float(bad)} for bad in part]) for part in kinds]
    shards = plan(tmp_path_factory.mktemp("plan"), tables, size, max_punsafe=0.5)
    assert [row["url"] for shard in shards for row in shard] == [f"x{i}" for i in range(sum(map(len, kinds)))]
    fetched = [sum(row["status"] is None for row in shard) for shard in shards]
    assert all(count <= size for count in fetched)
    assert all(count == size for count in fetched[:-1])


def test_a_url_is_fetched_once(tmp_path: Path) -> None:
    (shard,) = plan(tmp_path, [table({"url": "a"}, {"url": "b"}, {"url": "a"}), table({"url": "b"})], 10)
    assert [row["status"] for row in shard] == [None, None, "duplicate_url", "duplicate_url"]


def test_known_urls_are_left_out(tmp_path: Path) -> None:
    known = KeySet(np.array([url_key("a")], np.uint64))
    left_out = write_plan([table({"url": "a"}, {"url": "b"})], FilterConfig(), 10, known, 3, tmp_path / "plan")
    assert left_out == 1
    assert pq.read_table(tmp_path / "plan" / "00003.parquet")["url"].to_pylist() == ["b"]


def test_rows_that_are_filtered_fill_shards_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simpleseg_core.fetch._plan._FILTERED_ROWS", 3)
    shards = plan(tmp_path, [table(*[ROW | {"punsafe": 1.0}] * 12)], 2, max_punsafe=0.5)
    assert [len(shard) for shard in shards] == [5, 5, 2]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), max_size=30), max_size=6))
def test_a_key_set_is_a_set(batches: list[list[int]]) -> None:
    keys, seen = KeySet(), set[int]()
    for batch in batches:
        new = keys.add(np.array(batch, np.uint64))
        expected = [item not in seen and item not in batch[:i] for i, item in enumerate(batch)]
        assert new.tolist() == expected
        seen |= set(batch)
        assert keys.contains(np.arange(60, dtype=np.uint64)).tolist() == [i in seen for i in range(60)]
