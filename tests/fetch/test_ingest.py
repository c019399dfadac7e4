"""The downloader as a whole: every row is accounted for exactly once, whatever happens on the way."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.config import FilterConfig, IngestConfig, WebConfig
from simpleseg_core.data.shards import ImageStore, write_shard
from simpleseg_core.fetch import FetchJob, finished_shards, ingest, read_metadata
from simpleseg_core.fetch._politeness import Politeness
from simpleseg_core.fetch._sink import Sink
from simpleseg_core.fetch._status import Refused
from tests.fetch.images import encode, picture
from tests.fetch.server import Exchange, Server, jpeg

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
    job = FetchJob("test", web.filters, IngestConfig.model_validate(settings), folder / "images", folder / "work")
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


def test_what_a_kill_left_of_a_near_duplicate_is_taken_out_by_the_next_run(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    server.image("/b.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg", "/b.jpg"])
    run(tmp_path, web, server)
    tar, rows_file = tmp_path / "images" / "00000.tar", tmp_path / "images" / "00000.parquet"
    done = tar.read_bytes()
    write_shard([("00000000000.jpg", jpeg()), ("00000000001.jpg", jpeg())], tar)
    os.utime(tar, ns=(0, rows_file.stat().st_mtime_ns - 1))  # the rows had been rewritten, the tar had not
    assert run(tmp_path, web, server) == {"ok": 1, "near_duplicate": 1}
    assert tar.read_bytes() == done


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


def test_a_promise_whose_kind_is_not_told_is_quarantined(tmp_path: Path, server: Server) -> None:
    for number in range(2):
        server.image(f"/{number}.jpg", jpeg(number))
    promised = [hashlib.md5(jpeg(number), usedforsecurity=False).hexdigest() for number in range(2)]
    paths = [f"/{number}.jpg" for number in range(2)]
    web = table(tmp_path / "meta" / "a.parquet", server, paths, hash=promised, hash_kind=["md5", None])
    assert run(tmp_path, web, server) == {"ok": 1, "hash_mismatch": 1}
    assert rows(tmp_path)[1]["detail"] == f"{promised[1]} has no hash_kind"


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


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def spoil(file: Path) -> None:
    """Make the first page of a table unreadable, header intact."""
    body = bytearray(file.read_bytes())
    body[4:60] = b"\xff" * 56
    file.write_bytes(body)


@pytest.mark.parametrize(
    ("damage", "suffix"),
    [(halve, ".parquet"), (spoil, ".parquet"), (Path.unlink, ".parquet"), (halve, ".tar"), (Path.unlink, ".tar")],
)
def test_a_damaged_shard_is_made_again_and_no_other(
    tmp_path: Path, server: Server, damage: Callable[[Path], None], suffix: str
) -> None:
    for number in range(12):
        server.image(f"/{number}.jpg", jpeg(number))
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(12)])
    run(tmp_path, web, server)
    before = contents(tmp_path / "images")
    damage(tmp_path / "images" / f"00001{suffix}")
    server.requests.clear()
    assert run(tmp_path, web, server) == {"ok": 12}
    assert sorted(server.requests) == sorted(f"/{n}.jpg" for n in range(5, 10))
    assert contents(tmp_path / "images") == before


def test_a_damaged_shard_comes_back_from_the_sink(tmp_path: Path, server: Server) -> None:
    async def down(exchange: Exchange) -> None:
        await exchange.send(b"", 503)

    server.image("/a.jpg", jpeg())
    server.routes["/b.jpg"] = down
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg", "/b.jpg"])
    sink = str(tmp_path / "sink")
    run(tmp_path, web, server, retries=0, sink=sink)
    (tmp_path / "images" / "00000.tar").unlink()
    server.requests.clear()
    assert run(tmp_path, web, server, retries=0, sink=sink, retry_failed=True) == {"ok": 1, "http_503": 1}
    assert server.requests == ["/b.jpg"]
    assert contents(tmp_path / "sink") == contents(tmp_path / "images")


def test_a_damaged_plan_of_an_interrupted_run_is_made_again(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg"])
    run(tmp_path, web, server)
    for file in (tmp_path / "images").glob("0*"):
        file.unlink()
    plan = tmp_path / "work" / "plans" / "00000" / "00000.parquet"
    plan.parent.mkdir()
    plan.write_bytes(b"PAR1 and half a plan")
    assert run(tmp_path, web, server) == {"ok": 1}


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


def test_a_host_that_always_refuses_is_given_up(tmp_path: Path, server: Server) -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.send(b"", 429, headers={"Retry-After": "0"})

    paths = [f"/{number}.jpg" for number in range(200)]
    server.routes |= dict.fromkeys(paths, busy)
    web = table(tmp_path / "meta" / "a.parquet", server, paths)
    assert run(tmp_path, web, server, shard_size=200) == {"http_429": 200}
    assert len(server.requests) < 40
    assert sum("was given up after 2" in (row["detail"] or "") for row in rows(tmp_path)) > 150


def test_a_host_that_was_given_up_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simpleseg_core.fetch._politeness._ASK_AGAIN_S", 0.05)

    async def ask(politeness: Politeness, answer: Refused | None) -> str:
        try:
            async with politeness.admit("a.org"):
                if answer is not None:
                    raise answer
        except Refused as refused:
            return type(refused).__name__
        return "ok"

    async def run() -> list[str]:
        politeness, down, gone = Politeness(IngestConfig()), Refused("http_503"), Refused("http_404")
        answers = [await ask(politeness, down) for _ in range(15)]
        answers += [await ask(politeness, gone)]  # the host works, the row does not
        answers += [await ask(politeness, down) for _ in range(21)]
        await asyncio.sleep(0.06)
        return [*answers, await ask(politeness, None), await ask(politeness, down)]

    assert asyncio.run(run()) == ["Refused"] * 36 + ["GivenUpError", "ok", "Refused"]


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


def test_input_that_cannot_be_read_costs_no_finished_shard(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg"])
    run(tmp_path, web, server)
    before = contents(tmp_path)
    for mistake in ({"metadata": str(tmp_path / "nowhere")}, {"columns": {"url": "u", "text": "nothing"}}):
        with pytest.raises((FileNotFoundError, ValueError)):
            run(tmp_path, web.model_copy(update=mistake), server, resize="longest", image_size=32)
        assert contents(tmp_path) == before
    assert run(tmp_path, web, server) == {"ok": 1}


_FULL = """
import sys
from pathlib import Path
from tests.fetch.test_ingest import run
from tests.fetch.server import Server
from simpleseg_core.config import WebConfig
if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    web = WebConfig(metadata=str(folder / "meta"), schema_name="generic", columns={"url": "u", "text": "t"})
    try:
        run(folder / "small", web, Server(port=port), concurrency=1)
    except OSError as error:
        print(error)
    import shutil
    shutil.copytree(folder / "small" / "images", folder / "big" / "images")
"""


def test_a_full_disk_is_named_and_harms_no_finished_shard(tmp_path: Path, server: Server, repository: Path) -> None:
    """On a real file system that is too small, in a mount namespace of its own."""
    bodies = [jpeg(number, (960, 720)) for number in range(20)]
    for number, body in enumerate(bodies):
        server.image(f"/{number}.jpg", body)
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(20)])
    (tmp_path / "small").mkdir()
    # Room for the first shard even while two are fetched and written, none for all four and what waits for its tar.
    size = 23 * max(map(len, bodies))
    inside = f'mount -t tmpfs -o size={size} none "$1/small" && exec "$0" -c "$3" "$1" "$2"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, sys.executable]
    if subprocess.run([*command[:4], "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    arguments = [*command, str(tmp_path), str(server.port), _FULL]
    said = subprocess.run(arguments, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert re.search(r"no space left .* the [123] finished shards are intact: free some space and run again", said)
    # Rows come last: a disk that fills up between a tar and its rows leaves the tar of a shard that is not finished.
    whole = {f"images/{shard.stem}.tar" for shard in finished_shards(tmp_path / "big" / "images")}
    finished = {name: data for name, data in contents(tmp_path / "big").items() if name in whole}
    assert f"the {len(finished)} finished shards" in said
    server.requests.clear()
    assert run(tmp_path / "big", web, server) == {"ok": 20}
    assert len(server.requests) == 20 - 5 * len(finished)
    everything = contents(tmp_path / "big")
    assert {name: everything[name] for name in finished} == finished


_KILLED = """
import sys
from pathlib import Path
from tests.fetch.test_ingest import run
from tests.fetch.server import Server
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


_MEASURED = """
import resource, sys
from pathlib import Path
from tests.fetch.test_ingest import run
from tests.fetch.server import Server
from simpleseg_core.config import WebConfig
if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    web = WebConfig(metadata=str(folder / "meta"), schema_name="generic", columns={"url": "u", "text": "t"})
    counts = run(folder, web, Server(port=port), shard_size=50, near_duplicate_bits=None)
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(counts["ok"], *(resource.getrusage(who).ru_maxrss // 1024 for who in whose))
"""


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, server: Server, repository: Path) -> None:
    server.image("/a.jpg", jpeg() + bytes(200_000))
    peaks = []
    for rows in (100, 600):
        table(tmp_path / str(rows) / "meta" / "a.parquet", server, [f"/a.jpg?{number}" for number in range(rows)])
        command = [sys.executable, "-c", _MEASURED, str(tmp_path / str(rows)), str(server.port)]
        said = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
        images, *mebibytes = map(int, said.split())
        assert images == rows
        peaks.append(mebibytes)
    (ours, decoder), (ours_later, decoder_later) = peaks
    assert ours_later - ours < 40  # 500 bodies have 100 MB
    assert decoder_later - decoder < 40


def test_shards_can_be_sent_to_any_file_system(tmp_path: Path, server: Server) -> None:
    for number in range(8):
        server.image(f"/{number}.jpg", jpeg(number))
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(8)])
    run(tmp_path, web, server, sink="memory://bucket/images")
    there = fsspec.filesystem("memory")
    assert sorted(Path(name).name for name in there.ls("/bucket/images", detail=False)) == [
        "00000.parquet", "00000.sha256", "00000.tar", "00001.parquet", "00001.sha256", "00001.tar", "summary.json",
    ]  # fmt: skip
    assert there.cat_file("/bucket/images/00001.tar") == (tmp_path / "images" / "00001.tar").read_bytes()
    assert Sink("memory://bucket/images").complete(tmp_path / "images") == []


def test_a_shard_is_sent_as_soon_as_it_is_finished(tmp_path: Path, server: Server) -> None:
    there = tmp_path / "sink"

    async def last(exchange: Exchange) -> None:
        while not (there / "00000.sha256").exists():
            await asyncio.sleep(0.01)
        await exchange.send(jpeg(9))

    for number in range(9):
        server.image(f"/{number}.jpg", jpeg(number))
    server.routes["/9.jpg"] = last
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(10)])
    assert run(tmp_path, web, server, sink=str(there)) == {"ok": 10}


def test_a_lost_folder_comes_back_from_the_sink_and_goes_on(tmp_path: Path, server: Server) -> None:
    for number in range(12):
        server.image(f"/{number}.jpg", jpeg(number))
    promised = ["0" * 64, *[None] * 6]
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{n}.jpg" for n in range(7)], hash=promised)
    sink = str(tmp_path / "sink")
    run(tmp_path, web, server, sink=sink)
    first = contents(tmp_path / "images")
    for folder in ("images", "work"):
        shutil.rmtree(tmp_path / folder)
    (tmp_path / "sink" / "00001.sha256").unlink()  # as if the run had been killed while it sent this shard
    table(tmp_path / "meta" / "b.parquet", server, [f"/{n}.jpg" for n in range(7, 12)], hash=[None] * 5)
    server.requests.clear()
    assert run(tmp_path, web, server, sink=sink) == {"ok": 11, "hash_mismatch": 1}
    assert sorted(server.requests) == sorted(f"/{n}.jpg" for n in range(5, 12))
    again = contents(tmp_path / "images")
    assert again["00000.tar"] == first["00000.tar"]
    assert again["quarantine/00000.tar"] == first["quarantine/00000.tar"]
    assert contents(tmp_path / "sink") == again


def test_near_duplicates_are_taken_out_at_the_sink_too(tmp_path: Path, server: Server) -> None:
    for number in range(9):
        server.image(f"/{number}.jpg", jpeg(number))
    server.image("/copy.jpg", encode(picture((64, 48), 3), "JPEG", quality=70))
    web = table(tmp_path / "meta" / "a.parquet", server, [*(f"/{n}.jpg" for n in range(9)), "/copy.jpg"])
    assert run(tmp_path, web, server, sink=str(tmp_path / "sink"))["near_duplicate"] == 1
    assert contents(tmp_path / "sink") == contents(tmp_path / "images")
    assert (tmp_path / "sink" / "00001.parquet").read_bytes() == (tmp_path / "images" / "00001.parquet").read_bytes()


def test_a_sink_of_other_settings_is_left_alone(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg"])
    run(tmp_path, web, server, sink=str(tmp_path / "sink"))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"ingest\.sink: .* other settings; name an empty place"):
        run(tmp_path, web, server, sink=str(tmp_path / "sink"), image_size=32, resize="longest")
    assert contents(tmp_path) == before


def test_a_damaged_shard_at_the_sink_is_named(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg"])
    run(tmp_path, web, server, sink=str(tmp_path / "sink"))
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "sink" / "00000.tar").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"00000\.tar is damaged .* delete 00000\.sha256"):
        run(tmp_path, web, server, sink=str(tmp_path / "sink"))
    assert not list((tmp_path / "images").iterdir())


def test_filters_refuse_rows_before_any_request(tmp_path: Path, server: Server) -> None:
    server.image("/a.jpg", jpeg())
    web = table(tmp_path / "meta" / "a.parquet", server, ["/a.jpg", "/b.jpg", "/c.jpg"], punsafe=[0.01, 0.9, None])
    web = web.model_copy(update={"filters": FilterConfig(max_punsafe=0.1)})
    assert run(tmp_path, web, server) == {"ok": 1, "filtered_safety": 2}
    assert server.requests == ["/a.jpg"]
