"""Tables that are mapped: the rows that reading gives, in memory that does not grow with their number."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.data.mapped import MappedRows
from simpleseg_core.data.records import CONVERSATIONS, ROW_GROUP, read_rows, write_table


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "sample": str(index), "image": f"{index:05d}", "shard": "a.tar", "width": 64, "height": 48, "source": "",
            "turns": [{"question": f"what {turn}?", "answer": "[]" * turn} for turn in range(index % 3)],
        }
        for index in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "sft.parquet"
    write_table(rows(2 * ROW_GROUP + 17), CONVERSATIONS, path)
    return path


@settings(max_examples=30)
@given(index=st.integers(-2 * ROW_GROUP - 20, 2 * ROW_GROUP + 20))
def test_every_row_is_the_one_that_reading_gives(table: Path, index: int) -> None:
    mapped, read = MappedRows(table, CONVERSATIONS, table.with_suffix(".arrow")), read_rows(table, CONVERSATIONS)
    if not -len(read) <= index < len(read):
        with pytest.raises(IndexError):
            mapped[index]
        return
    assert mapped[index] == read[index]
    assert mapped[index : index + 3] == read[index : index + 3]
    assert len(mapped) == len(read)


def test_what_is_sent_to_a_worker_is_small_and_finds_the_rows_there(table: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sft.arrow"
    sent = pickle.dumps(MappedRows(table, CONVERSATIONS, copy))
    assert len(sent) < 5_000
    copy.unlink()  # as on another machine
    assert pickle.loads(sent)[1_500]["sample"] == "1500"


def test_a_copy_of_another_table_or_half_a_copy_is_made_again(tmp_path: Path) -> None:
    path, copy = tmp_path / "sft.parquet", tmp_path / "sft.arrow"
    for count in (5, 7):
        write_table(rows(count), CONVERSATIONS, path)
        assert len(MappedRows(path, CONVERSATIONS, copy)) == count
    copy.write_bytes(copy.read_bytes()[:-100])
    assert len(MappedRows(path, CONVERSATIONS, copy)) == 7


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sft.parquet"
    with pytest.raises(FileNotFoundError, match=r"sft\.parquet"):
        MappedRows(path, CONVERSATIONS, tmp_path / "a")
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"sft\.parquet: not a readable parquet"):
        MappedRows(path, CONVERSATIONS, tmp_path / "a")
    pq.write_table(pa.table({"sample": ["a"]}), path)
    with pytest.raises(ValueError, match=r"columns .*image.* are missing"):
        MappedRows(path, CONVERSATIONS, tmp_path / "a")


_GROWTH = """
import re, sys
from pathlib import Path
from simpleseg_core.data.mapped import MappedRows
from simpleseg_core.data.records import CONVERSATIONS
from simpleseg_core.training.order import EpochOrder
def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = own()
table = MappedRows(Path(sys.argv[1]), CONVERSATIONS, Path(sys.argv[2]))
order = EpochOrder(len(table), 0)
for position in range(10_000):
    table[order[position]]
print(len(table), own() - before)
"""


def test_memory_is_flat_over_eight_hundred_thousand_rows(tmp_path: Path) -> None:
    path = tmp_path / "sft.parquet"
    part = pa.Table.from_pylist(rows(ROW_GROUP), schema=CONVERSATIONS)
    with pq.ParquetWriter(path, CONVERSATIONS) as writer:
        for _ in range(800):
            writer.write_table(part)
    command = [sys.executable, "-c", _GROWTH, str(path), str(tmp_path / "sft.arrow")]
    count, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(count) == 800_000
    assert float(grown) < 200, "MiB; as Python dictionaries they are 1,600"
