"""The data section: counts, shares, plots and examples come from what the stages left, and only from that."""

import json
from pathlib import Path

import pytest

from simpleseg_core.config import Config
from simpleseg_core.data.records import DESCRIPTIONS, INGEST, POLYGONS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.report.data_page import DataPage, read_data_page
from simpleseg_core.report.panels import Album
from simpleseg_core.report.sources import read_sources
from tests.export.annotated import write_annotations

SUMMARIES = {
    "images/summary.json": {"rows": 20, "images": 16, "status": {"ok": 16, "timeout": 4}},
    "boxes/summary.json": {"images": 16, "boxes": 30, "unreadable": 1},
    "polygons/summary.json": {"detected": 30, "area": 6, "duplicate": 4, "kept": 20},
    "dataset/composition.json": {
        "composition": [
            {"table": "sft", "source": "refcoco", "task": "text->mask", "images": 4, "turns": 30, "share": 0.75},
            {"table": "sft", "source": "refshapes", "task": "text->mask", "images": 2, "turns": 10, "share": 0.25},
        ],
        "tokenizer": "tokenizer of somewhere",
        "answer_tokens": {"sft": {"mean": 12.5, "max": 40.0}},
        "answer_lengths": [{"tokens": "0-31", "sft": 30}, {"tokens": "32-63", "sft": 10}],
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = write_annotations(folder, shards=2, per_shard=8)
    write_table(rows, POLYGONS, folder / "polygons" / "00000.parquet")
    licensed = folder / "images" / "00000.parquet"
    write_table(
        [row | {"license": "CC-BY", "source": "laion:part-00017.parquet"} for row in read_rows(licensed, INGEST)],
        INGEST,
        licensed,
    )
    for name, summary in SUMMARIES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(summary))
    return folder


def read(data: Path) -> DataPage:
    files = {Path(name).parent.name: data / name for name in SUMMARIES}
    return read_data_page(data, read_sources({}, {}, files).summaries, Config(), Album(ImageStore(data)))


@pytest.fixture(scope="module")
def page(data: Path) -> DataPage:
    return read(data)


def test_counts_follow_the_data_and_name_what_could_not_be_used(page: DataPage) -> None:
    assert [(row.stage, row.count, row.note) for row in page.counts] == [
        ("metadata", 20, ""),
        ("ingest", 16, ""),
        ("detect", 30, "1 images unreadable"),
        ("contour", 20, ""),
        ("dataset: sft", 40, ""),
    ]


def test_shares_of_licences_collections_and_hosts_add_up(page: DataPage) -> None:
    assert {(row.name, row.count, row.share) for row in page.mixes["Licence"]} == {
        ("CC-BY", 8, 0.5),
        ("not stated", 8, 0.5),
    }
    assert ("laion", 8) in {(row.name, row.count) for row in page.mixes["Collection"]}
    assert [(row.name, row.count) for row in page.mixes["Host"]] == [("shapes.test", 16)]
    assert all(sum(row.share for row in shares) == pytest.approx(1) for shares in page.mixes.values())


def test_plots_say_what_they_show(page: DataPage) -> None:
    funnel, trips = page.plots
    assert "area 24 kept, 6 dropped" in funnel
    assert "Polygons rebuild their masks" in trips
    assert page.lengths is not None
    assert "Length of the answers" in page.lengths
    assert page.funnel_rows[-1]["kept"] == 20


def test_examples_are_the_worst_and_others_at_random_each_once(data: Path, page: DataPage) -> None:
    rows = read_rows(data / "descriptions", DESCRIPTIONS)
    worst, random = page.examples["Hardest to say in polygons"], page.examples["At random"]
    by_trip = sorted(rows, key=lambda row: row["roundtrip_iou"])[:6]
    assert [shot.title for shot in worst] == [row["description"] for row in by_trip]
    assert len(random) == 6
    assert len({(shot.frame.name, shot.polygons) for shot in (*worst, *random)}) == 12
    assert read(data).examples == page.examples


def test_composition_and_tokens_are_passed_on(page: DataPage) -> None:
    assert [row["share"] for row in page.composition] == [0.75, 0.25]
    assert (page.tokenizer, page.answers) == ("tokenizer of somewhere", {"sft": {"mean": 12.5, "max": 40.0}})


def test_a_run_without_data_has_an_empty_page(tmp_path: Path) -> None:
    assert not read(tmp_path)


def test_many_hosts_are_summed_up(data: Path, tmp_path: Path) -> None:
    rows = read_rows(data / "images" / "00000.parquet", INGEST)[:1] * 15
    many = [row | {"url": f"http://host{number}.test/a.jpg"} for number, row in enumerate(rows)]
    write_table(many, INGEST, tmp_path / "images" / "00000.parquet")
    hosts = read(tmp_path).mixes["Host"]
    assert len(hosts) == 11
    assert (hosts[-1].name, hosts[-1].count) == ("5 others", 5)
