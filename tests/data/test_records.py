"""Tables of our own: what cannot be read is named, with the cure, however it is read."""

from pathlib import Path

import pytest

from simpleseg_core.data.mapped import MappedRows
from simpleseg_core.data.records import INGEST, read_rows, write_table


@pytest.mark.parametrize("damage", ["empty", "cut", "first page", "footer"])
def test_a_damaged_table_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "00000.parquet"
    write_table([{"row_id": f"{number}", "url": f"http://a.org/{number}"} for number in range(200)], INGEST, file)
    body = file.read_bytes()
    damaged = {
        "empty": b"",
        "cut": body[: len(body) // 2],
        "first page": body[:4] + b"\xff" * 56 + body[60:],
        "footer": body[:-2000] + bytes(1992) + body[-8:],
    }
    file.write_bytes(damaged[damage])
    for read in (lambda: read_rows(tmp_path, INGEST), lambda: MappedRows(file, INGEST, tmp_path / "copy")):
        with pytest.raises(ValueError, match=r"00000\.parquet: not a readable parquet file \(.*\); delete it and run"):
            read()
