"""Contact sheets: one a shard, the worst first, made again only when the table has changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.contract import Context
from simpleseg_core.data.records import DESCRIPTIONS, POLYGONS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.export import Annotations, overview_sheet, write_sheets
from simpleseg_core.export.formats import sheets
from simpleseg_core.viz import InstanceView
from tasks.graph import load_stage
from tests.export.annotated import write_annotations


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_annotations(tmp_path, shards=2, per_shard=8)
    return tmp_path


def write(data: Path, seed: int = 0) -> list[Path]:
    return write_sheets(Annotations.open(data), data / "sheets", ImageStore(data), seed)


def test_every_shard_gets_a_sheet_the_same_for_the_same_seed(data: Path) -> None:
    first = {file.name: file.read_bytes() for file in write(data)}
    assert set(first) == {"00000.png", "00001.png"}
    for file in (data / "sheets").iterdir():
        file.unlink()
    assert {file.name: file.read_bytes() for file in write(data)} == first
    assert {file.name: file.read_bytes() for file in write(data, seed=1)} != first


def test_a_sheet_is_made_again_when_its_table_changes_and_only_then(data: Path) -> None:
    before = {file.name: file.read_bytes() for file in write(data)}
    table = data / "descriptions" / "00000.parquet"
    write_table(read_rows(table, DESCRIPTIONS)[:2], DESCRIPTIONS, table)
    (data / "sheets" / "00007.png").write_bytes(b"of an earlier, bigger run")
    untouched = (data / "sheets" / "00001.png").stat().st_mtime_ns
    after = {file.name: file.read_bytes() for file in write(data)}
    assert after.keys() == before.keys() == {file.name for file in (data / "sheets").iterdir()}
    assert after["00000.png"] != before["00000.png"]
    assert (data / "sheets" / "00001.png").stat().st_mtime_ns == untouched


def test_a_shard_without_instances_has_no_sheet(data: Path) -> None:
    write(data)
    write_table([], DESCRIPTIONS, data / "descriptions" / "00001.parquet")
    assert [file.name for file in write(data)] == ["00000.png"]
    assert not (data / "sheets" / "00001.png").exists()


def test_the_worst_instances_are_shown_first_and_none_twice(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[InstanceView]] = {}

    def remember(title: str, sections: dict[str, list[InstanceView]]) -> np.ndarray:
        shown.update(sections)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(sheets, "instance_sheet", remember)
    rows = read_rows(data / "descriptions" / "00000.parquet", DESCRIPTIONS)
    sheets.shard_sheet("shard", rows, ImageStore(data), np.random.default_rng(0))
    worst, unsure, random = shown.values()
    by_trip = sorted(rows, key=lambda row: row["roundtrip_iou"])
    assert [view.title for view in worst] == [row["description"] for row in by_trip[:4]]
    assert len(unsure) == 4
    boxes = [(view.title, tuple(view.box)) for view in (*worst, *unsure, *random)]
    assert len(set(boxes)) == len(boxes)


def test_an_overview_takes_the_worst_of_all_shards(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[InstanceView]] = {}
    monkeypatch.setattr(sheets, "instance_sheet", lambda title, sections: shown.update(sections))
    overview_sheet(Annotations.open(data), ImageStore(data), seed=0)
    by_trip = sorted(read_rows(data / "descriptions", DESCRIPTIONS), key=lambda row: row["roundtrip_iou"])
    assert [view.title for view in next(iter(shown.values()))] == [row["description"] for row in by_trip[:4]]
    assert [len(views) for views in shown.values()] == [4, 4, 4]


def test_sheets_are_pictures_that_open(data: Path) -> None:
    for file in write(data):
        with Image.open(file) as picture:
            picture.load()
            assert picture.format == "PNG"


def test_the_describe_stage_leaves_a_sheet_beside_each_table_and_shows_it(data: Path) -> None:
    rows = read_rows(data / "descriptions" / "00000.parquet", DESCRIPTIONS)
    write_table(rows, POLYGONS, data / "polygons" / "00000.parquet")
    inputs = {"images": data / "images", "polygons": data / "polygons"}
    result = load_stage("describe")(Config(), inputs, {"descriptions": data / "descriptions"}, Context(data / "work"))
    assert result.images == {"sheet_00000": data / "descriptions" / "00000.png"}
    assert result.images["sheet_00000"].is_file()
