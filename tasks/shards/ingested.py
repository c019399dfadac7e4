"""What was ingested with an image, for stages whose own rows do not carry it on."""

from pathlib import Path

from simpleseg_core.data.records import INGEST, read_rows
from tasks.shards.parts import Row


class Ingested:
    """Rows of the tables that ingest wrote; those of the shard that was asked about last are kept."""

    def __init__(self, images: Path) -> None:
        self._root, self._shard = images.parent, ""
        self._rows: dict[str, Row] = {}

    def of(self, row: Row) -> Row:
        """The row of the image that a row of any later table is about.

        Raises:
            FileNotFoundError, ValueError: the table is gone, or none of ours.
            KeyError: it does not know the image.
        """
        if self._shard != row["shard"]:
            table = self._root / Path(row["shard"]).with_suffix(".parquet")
            self._rows = {found["image"]: found for found in read_rows(table, INGEST)}
            self._shard = row["shard"]
        return self._rows[row["image"]]
