"""The ingest stage on real sources, small."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.config import Config, IngestConfig
from simpleseg_core.contract import Context, StageResult
from simpleseg_core.data.records import FETCHES, INGEST, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.fetch._ray import share_limits
from simpleseg_core.journal import Journal
from tasks import ingest
from tasks.runs.processes import stop_tree


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


def test_two_runs_give_the_same_files_and_a_third_does_nothing(tmp_path: Path) -> None:
    small = {"data": {"web_images": 12}, "ingest": {"shard_size": 5}}
    outcomes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _, images = run(tmp_path / name, **small)
        outcomes.append({file.name: file.read_bytes() for file in images.rglob("*") if file.is_file()})
        (fetches,) = {row["fetched_at"][:10] for row in read_rows(tmp_path / name / "work" / "fetches", FETCHES)}
        assert datetime.now(UTC) - datetime.fromisoformat(f"{fetches}T00:00:00Z") < timedelta(days=2)
        time.sleep(1.1)  # moments are written to the second
    assert len(outcomes[0]) == 3 * 2 + len({"summary.json", "truth.parquet"})
    assert outcomes[0] == outcomes[1]
    before = {file: file.stat().st_mtime_ns for file in images.glob("0*")}
    run(tmp_path / "b", **small)
    assert {file: file.stat().st_mtime_ns for file in images.glob("0*")} == before


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray that runs already, on loopback, as a cluster would."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "port": port,
        "node-ip-address": "127.0.0.1",
        "num-cpus": 2,
        "object-store-memory": 100 << 20,
        "include-dashboard": "false",
        "temp-dir": tmp_path_factory.mktemp("ray"),
    }
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())]
    others = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    environment = os.environ | others  # somebody else's cluster, without a key
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            stop_tree(process.pid)


_ON_RAY = """
import sys
from pathlib import Path
from tests.tasks.test_ingest import run
limits = {"shard_size": 5, "engine": "ray", "workers": 2}
result, _ = run(Path(sys.argv[1]), data={"web_images": 14}, ingest=limits, ray={"address": sys.argv[2]})
print(result.metrics["rows"])
"""


@pytest.mark.slow
def test_workers_of_a_ray_cluster_write_the_same_shards(tmp_path: Path, cluster: str, repository: Path) -> None:
    for engine in ("local", "ray"):
        (tmp_path / engine).mkdir()
    run(tmp_path / "local", data={"web_images": 14}, ingest={"shard_size": 5})
    # In a process of its own: Ray reads what it may connect to when it is imported.
    command = [sys.executable, "-c", _ON_RAY, str(tmp_path / "ray"), cluster]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "14.0"
    outcomes = [
        {tar.name: tar.read_bytes() for tar in (tmp_path / engine / "data" / "images").glob("*.tar")}
        for engine in ("local", "ray")
    ]
    assert len(outcomes[0]) == 3
    assert outcomes[0] == outcomes[1]


def test_while_it_runs_speed_and_reasons_are_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("tasks.ingest._LOG_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    journal = Journal(tmp_path)
    watch = ingest.Watch(Context(tmp_path, tracker=journal))
    watch.planned(10)
    watch.finished({"ok": 4, "http_404": 1, "bytes": 4_000_000})
    watch.finished({"ok": 1, "timeout": 3, "bytes": 1_000_000})
    points = [event for _, event in journal.read()]
    assert [point["step"] for point in points] == [5, 9]
    last = points[-1]["metrics"]
    assert last["success_rate"] == 5 / 9
    assert last["images_per_second"] == pytest.approx(last["megabytes_per_second"])
    assert {name: last[f"rows/{name}"] for name in ("ok", "http_404", "timeout")} == {
        "ok": 5, "http_404": 1, "timeout": 3,
    }  # fmt: skip
    assert "9 of 10 rows" in caplog.text
    assert "55.6% with an image; timeout 3; http_404 1" in caplog.text


def test_a_damaged_table_of_many_is_named_and_costs_no_other(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    pq.write_table(pa.table({"URL": ["http://10.0.0.1/a.jpg"], "TEXT": ["a"]}), tables / "good.parquet")
    (tables / "bad.parquet").write_bytes(b"PAR1, cut short")
    web = {"metadata": str(tables), "filters": {"max_punsafe": "off"}}
    result, _ = run(tmp_path, data={"source": "web", "web": web})
    assert result.tables["reasons"] == [{"status": "address", "rows": 1, "share": 1.0}]
    (left_out,) = result.tables["files_left_out"]
    assert "bad.parquet: not a readable parquet file" in str(left_out["reason"])


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
