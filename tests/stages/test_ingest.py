"""The ingest stage on real sources, small."""

import json
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simpleseg_core.config import Config, IngestConfig
from simpleseg_core.data.records import INGEST, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.data.web._ray import share_limits
from simpleseg_core.stages import ingest
from simpleseg_core.stages._base import Context, StageResult
from tasks.spool import Spool


def run(tmp_path: Path, **sections: object) -> tuple[StageResult, Path]:
    config = Config.model_validate(sections)
    images = tmp_path / "data" / "images"
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return ingest.run(config, {}, {"images": images}, Context(work)), images


def shards(images: Path) -> list[Path]:
    return sorted(images.glob("[0-9]*.parquet"))


def test_refshapes_are_downloaded_from_a_real_server(tmp_path: Path) -> None:
    small = {"data": {"web_images": 25}, "ingest": {"shard_size": 10}}
    result, images = run(tmp_path, **small)
    rows = [row for shard in shards(images) for row in read_rows(shard, INGEST)]
    assert len(rows) == result.metrics["rows"] == 25
    assert [path.name for path in shards(images)] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert 0 < sum(row["status"] != "ok" for row in rows) < 5
    truth = pq.read_table(images / "truth.parquet").to_pylist()
    for row in rows:
        if row["status"] == "ok":
            assert ImageStore(images.parent).read(row["shard"], row["image"]).size == (row["width"], row["height"])
    assert {item["url"] for item in truth} >= {row["url"] for row in rows if row["status"] == "ok"}
    assert json.loads((images / "summary.json").read_text())["rows"] == 25


def test_two_runs_give_the_same_shards_and_a_third_does_nothing(tmp_path: Path) -> None:
    small = {"data": {"web_images": 12}, "ingest": {"shard_size": 5}}
    outcomes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _, images = run(tmp_path / name, **small)
        outcomes.append({tar.name: tar.read_bytes() for tar in images.glob("*.tar")})
    assert outcomes[0] == outcomes[1]
    before = {file: file.stat().st_mtime_ns for file in images.glob("0*")}
    run(tmp_path / "b", **small)
    assert {file: file.stat().st_mtime_ns for file in images.glob("0*")} == before


@pytest.mark.slow
def test_ray_workers_write_the_same_shards(tmp_path: Path) -> None:
    outcomes = []
    for engine in ("local", "ray"):
        (tmp_path / engine).mkdir()
        limits = {"shard_size": 5, "engine": engine, "workers": 2}
        _, images = run(tmp_path / engine, data={"web_images": 14}, ingest=limits)
        outcomes.append({tar.name: tar.read_bytes() for tar in images.glob("*.tar")})
    assert len(outcomes[0]) == 3
    assert outcomes[0] == outcomes[1]


def test_while_it_runs_speed_and_reasons_are_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("simpleseg_core.stages.ingest._LOG_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    spool = Spool(tmp_path)
    watch = ingest.Watch(Context(tmp_path, tracker=spool))
    watch.planned(10)
    watch.finished({"ok": 4, "http_404": 1, "bytes": 4_000_000})
    watch.finished({"ok": 1, "timeout": 3, "bytes": 1_000_000})
    points = [event for _, event in spool.read()]
    assert [point["step"] for point in points] == [5, 9]
    last = points[-1]["metrics"]
    assert last["success_rate"] == 5 / 9
    assert last["images_per_second"] == pytest.approx(last["megabytes_per_second"])
    assert {name: last[f"rows/{name}"] for name in ("ok", "http_404", "timeout")} == {
        "ok": 5, "http_404": 1, "timeout": 3,
    }  # fmt: skip
    assert "9 of 10 rows" in caplog.text
    assert "55.6% with an image; timeout 3; http_404 1" in caplog.text


def test_workers_share_the_limits() -> None:
    shared = share_limits(IngestConfig(concurrency=64, per_host=2, rate=10.0), 4)
    assert (shared.concurrency, shared.per_host, shared.rate) == (16, 1, 2.5)


def test_photographs_of_a_coco_folder_keep_their_names_and_annotations(tmp_path: Path, coco_tiny: Path) -> None:
    result, images = run(tmp_path, data={"source": "coco", "coco": {"root": str(coco_tiny), "max_images": 12}})
    rows = [row for shard in shards(images) for row in read_rows(shard, INGEST)]
    assert result.metrics["images"] == 12
    for row in rows:
        assert row["image"] == row["row_id"]
        assert ImageStore(images.parent).read(row["shard"], row["image"]).size == (row["width"], row["height"])
        assert all(set(item) >= {"phrase", "box"} for item in json.loads(row["annotations"]))
