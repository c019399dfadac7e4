"""The downloader as a whole: every row is accounted for exactly once, whatever happens on the way."""

import asyncio
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.config import FilterConfig, IngestConfig, WebConfig
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.data.web import Job, finished_shards, ingest, read_metadata
from simpleseg_core.data.web._sink import copy_to_sink
from tests.data.web.images import encode, picture
from tests.data.web.server import Exchange, Server, jpeg

LIMITS = {"shard_size": 5, "honour_robots": False, "backoff_s": 0.01, "timeout_s": 5.0}


class Silent:
    """Watches nothing."""

    def planned(self, rows: int) -> None: ...

    def finished(self, counts: Mapping[str, int]) -> None: ...


def table(path: Path, server: Server, paths: list[str], **columns: list[Any]) -> WebConfig:
    """A generic metadata table of URLs on the server."""
    path.parent.mkdir(parents=True, exist_ok=True)
    urls = [server.url(item) if item.startswith("/") else item for item in paths]
    pq.write_table(pa.table({"u": urls, "t": [f"caption {i}" for i in range(len(paths))], **columns}), path)
    names = {"url": "u", "text": "t"} | {name: name for name in columns}
    return WebConfig(metadata=str(path.parent), schema_name="generic", columns=names)


def run(folder: Path, web: WebConfig, server: Server, **limits: object) -> dict[str, int]:
    (folder / "work").mkdir(parents=True, exist_ok=True)
    settings = LIMITS | {"allowed_private_hosts": (server.address,)} | limits
    job = Job("test", web.filters, IngestConfig.model_validate(settings), folder / "images", folder / "work")
    return ingest(job, read_metadata(web), Silent())


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for shard in finished_shards(folder / "images") for row in pq.read_table(shard).to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(tar.relative_to(folder)): tar.read_bytes() for tar in sorted(folder.rglob("*.tar"))}


def test_every_row_has_an_image_or_a_reason(tmp_path: Path, server: Server) -> None:
    server.image("/good.jpg", jpeg(1))
    server.image("/page.jpg", b"<html>")
    server.image("/cut.jpg", jpeg(2)[:-200])
    paths = ["/good.jpg", "/page.jpg", "/cut.jpg", "/gone.jpg", "http://10.0.0.1/x.jpg", "ftp://a/b", "/good.jpg", ""]
    counts = run(tmp_path, table(tmp_path / "meta" / "a.parquet", server, paths), server)
    reasons = ["not_an_image", "broken_image", "http_404", "address", "scheme", "duplicate_url", "bad_url"]
    assert counts == {"ok": 1} | dict.fromkeys(reasons, 1)
    good = rows(tmp_path)[0]
    assert good["sha256"] == hashlib.sha256(jpeg(1)).hexdigest()
    assert ImageStore(tmp_path).read_bytes(good["shard"], good["image"]) == jpeg(1)
    summary = json.loads((tmp_path / "images" / "summary.json").read_text())
    assert (summary["rows"], summary["images"], summary["status"]) == (8, 1, counts)


def test_near_duplicates_are_taken_out_of_all_but_the_first_shard(tmp_path: Path, server: Server) -> None:
    for number in range(9):
        server.image(f"/{number}.jpg", jpeg(number))
    server.image("/copy.jpg", encode(picture((64, 48), 3), "JPEG", quality=70))
    server.image("/scaled.png", encode(picture((128, 96), 3), "PNG"), kind="image/png")
    paths = [f"/{number}.jpg" for number in range(9)] + ["/copy.jpg", "/scaled.png"]
    counts = run(tmp_path, table(tmp_path / "meta" / "a.parquet", server, paths), server)
    assert counts == {"ok": 9, "near_duplicate": 2}
    found = rows(tmp_path)
    assert {row["detail"] for row in found if row["status"] == "near_duplicate"} == {f"of {found[3]['image']}"}
    assert sum(len(ImageStore(tmp_path).keys(f"images/{n:05d}.tar")) for n in range(3)) == 9


def test_images_that_are_not_what_was_promised_are_quarantined(tmp_path: Path, server: Server) -> None:
    for number in range(4):
        server.image(f"/{number}.jpg", jpeg(number))
    promised = [hashlib.sha256(jpeg(0)).hexdigest(), "0" * 64, None, hashlib.sha256(jpeg(3)).hexdigest().upper()]
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(4)], hash=promised)
    assert run(tmp_path, web, server) == {"ok": 3, "hash_mismatch": 1}
    assert rows(tmp_path)[1]["image"] is None
    with tarfile.open(tmp_path / "images" / "quarantine" / "00000.tar") as tar:
        assert tar.getnames() == ["00000000001.jpg"]
    assert len(ImageStore(tmp_path).keys("images/00000.tar")) == 3


def test_order_of_arrival_does_not_change_the_shards(tmp_path: Path, server: Server) -> None:
    delays = iter([0.2, 0.0, 0.15, 0.0, 0.05] * 4)
    for number in range(10):

        async def slowly(exchange: Exchange, body: bytes = jpeg(number)) -> None:
            await asyncio.sleep(next(delays))
            await exchange.send(body)

        server.routes[f"/{number}.jpg"] = slowly
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(10)])
    run(tmp_path / "first", web, server)
    run(tmp_path / "second", web, server, concurrency=1)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_second_run_asks_for_nothing(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg", "/gone.jpg"])
    first = run(tmp_path, web, server)
    asked = len(server.requests)
    assert run(tmp_path, web, server) == first
    assert len(server.requests) == asked


def test_new_rows_become_new_shards(tmp_path: Path, server: Server) -> None:
    for number in range(9):
        server.image(f"/{number}.jpg", jpeg(number))
    table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(6)])
    web = table(tmp_path / "meta" / "b.parquet", server, [])
    run(tmp_path, web, server)
    old = contents(tmp_path)
    table(tmp_path / "meta" / "b.parquet", server, [f"/{n}.jpg" for n in range(3, 9)])
    assert run(tmp_path, web, server) == {"ok": 9}
    new = contents(tmp_path)
    assert {name: new[name] for name in old} == old
    assert len(new) == len(old) + 1


def test_only_failures_that_may_pass_are_tried_again(tmp_path: Path, server: Server) -> None:
    async def down(exchange: Exchange) -> None:
        await exchange.send(b"", 503)

    for number in range(6):
        server.image(f"/{number}.jpg", jpeg(number))
    working = dict(server.routes)
    server.routes |= {"/1.jpg": down, "/4.jpg": down}
    web = table(tmp_path / "meta" / "a.parquet", server, [*(f"/{n}.jpg" for n in range(6)), "/gone.jpg"])
    assert run(tmp_path / "later", web, server, retries=0) == {"ok": 4, "http_503": 2, "http_404": 1}
    server.routes = working
    server.requests.clear()
    assert run(tmp_path / "later", web, server, retry_failed=True) == {"ok": 6, "http_404": 1}
    assert sorted(server.requests) == ["/1.jpg", "/4.jpg"]
    run(tmp_path / "at once", web, server)
    assert contents(tmp_path / "at once") == contents(tmp_path / "later")


def test_a_storm_of_429_is_waited_out(tmp_path: Path, server: Server) -> None:
    refused: Counter[str] = Counter()

    async def busy(exchange: Exchange) -> None:
        refused[exchange.path] += 1
        if refused[exchange.path] == 1:
            await exchange.send(b"", 429, headers={"Retry-After": "1"})
        else:
            await exchange.send(jpeg(int(exchange.path[1])))

    for number in range(4):
        server.routes[f"/{number}.jpg"] = busy
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(4)])
    assert run(tmp_path, web, server, retries=1) == {"ok": 4}
    assert set(refused.values()) == {2}


def test_errors_that_will_not_pass_are_not_repeated(tmp_path: Path, server: Server) -> None:
    async def failing(exchange: Exchange) -> None:
        await exchange.send(b"", 500)

    server.routes["/500.jpg"] = failing
    web = table(tmp_path / "meta" / "a.parquet", server, ["/404.jpg", "/500.jpg"])
    run(tmp_path, web, server, retries=2)
    assert Counter(server.requests) == {"/404.jpg": 1, "/500.jpg": 3}


def test_one_host_is_never_asked_for_more_than_its_share(tmp_path: Path, server: Server) -> None:
    now = most = 0

    async def count(exchange: Exchange) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.03)
        now -= 1
        await exchange.send(jpeg(int(exchange.path[1:3])))

    for number in range(10, 22):
        server.routes[f"/{number}.jpg"] = count
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(10, 22)])
    assert run(tmp_path, web, server, per_host=3)["ok"] == 12
    assert most <= 3


def test_other_settings_start_anew(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg"])
    run(tmp_path, web, server)
    run(tmp_path, web, server, resize="longest", image_size=32)
    assert (rows(tmp_path)[0]["width"], rows(tmp_path)[0]["original_width"]) == (32, 64)


def test_a_full_disk_is_named_and_harms_no_finished_shard(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        server.image(f"/{number}.jpg", jpeg(number))
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(10)])

    def full(*args: object) -> None:
        if "00001" in str(args[1]):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_shard(*args)  # type: ignore[arg-type]

    from simpleseg_core.data.web._shard import write_shard

    with monkeypatch.context() as patched:
        patched.setattr("simpleseg_core.data.web._shard.write_shard", full)
        with pytest.raises(OSError, match=r"no space left .* run again"):
            run(tmp_path, web, server)
    assert run(tmp_path, web, server) == {"ok": 10}
    assert sorted(row["url"] for row in rows(tmp_path)) == sorted(server.url(f"/{n}.jpg") for n in range(10))


_KILLED = """
import sys
from pathlib import Path
from tests.data.web.test_ingest import run
from tests.data.web.server import Server
from simpleseg_core.config import WebConfig
if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    columns = {"url": "u", "text": "t"}
    web = WebConfig(metadata=str(folder / "meta"), schema_name="generic", columns=columns)
    run(folder, web, Server(port=port), concurrency=4)
"""


def test_after_a_kill_every_row_is_there_exactly_once(tmp_path: Path, server: Server, repository: Path) -> None:
    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.03)
        await exchange.send(jpeg(int(exchange.path[1:4])))

    paths = [f"/{number}.jpg" for number in range(100, 160)]
    server.routes |= dict.fromkeys(paths, slowly)
    web = table(tmp_path / "meta" / "a.parquet", server, paths)
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(server.port)]
    process = subprocess.Popen(command, cwd=repository, start_new_session=True)
    deadline = time.monotonic() + 100
    while len(list((tmp_path / "images").glob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(finished_shards(tmp_path / "images")) < 12
    counts = run(tmp_path, web, server)
    found = rows(tmp_path)
    assert counts == {"ok": 60}
    assert [row["url"] for row in found] == [server.url(path) for path in paths]
    for row in found:
        body = ImageStore(tmp_path).read_bytes(row["shard"], row["image"])
        assert hashlib.sha256(body).hexdigest() == row["sha256"]
    assert not list((tmp_path / "images").glob("*.tmp"))


def test_shards_can_be_sent_to_any_file_system(tmp_path: Path, server: Server) -> None:
    for number in range(8):
        server.image(f"/{number}.jpg", jpeg(number))
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(8)])
    run(tmp_path, web, server, sink="memory://bucket/images")
    there = fsspec.filesystem("memory")
    assert sorted(Path(name).name for name in there.ls("/bucket/images", detail=False)) == [
        "00000.parquet", "00000.tar", "00001.parquet", "00001.tar", "manifest.json", "summary.json",
    ]  # fmt: skip
    assert there.cat_file("/bucket/images/00001.tar") == (tmp_path / "images" / "00001.tar").read_bytes()
    assert copy_to_sink(tmp_path / "images", "memory://bucket/images") == []


def test_filters_refuse_rows_before_any_request(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg", "/b.jpg", "/c.jpg"], punsafe=[0.01, 0.9, None])
    web = web.model_copy(update={"filters": FilterConfig(max_punsafe=0.1)})
    assert run(tmp_path, web, server) == {"ok": 1, "filtered_safety": 2}
    assert server.requests == ["/a.jpg"]
