"""What has been asked to go is gone, from shards and for good; the rest stays as it was, byte for byte."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from simpleseg_core.fetch import Removals, matches, record, take_out_removed
from simpleseg_core.fetch import _remove as module
from tests.fetch.server import Server, jpeg
from tests.fetch.test_ingest import rows, run, table


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        for number in range(6):
            server.image(f"/{number}.jpg", jpeg(number))
        yield server


def _members(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted((folder / "images").rglob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {f"{path.parent.name}/{each.name}": tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    return found


def _remove(folder: Path, urls: list[str], hashes: list[str]) -> int:
    record(folder / "images", Removals.of(urls, hashes))
    return take_out_removed(folder / "images")


def test_an_image_goes_by_its_address_or_its_sum_and_does_not_come_back(tmp_path: Path, server: Server) -> None:
    web = table(tmp_path / "meta" / "a.parquet", server, [f"/{number}.jpg" for number in range(4)])
    run(tmp_path, web, server)
    before = _members(tmp_path)
    sums = [hashlib.sha256(jpeg(2)).hexdigest().upper()]
    removals = Removals.of([server.url("/1.jpg")], sums)
    assert [rows for _, rows in matches(tmp_path / "images", removals).items()] == [[1, 2]]
    assert _remove(tmp_path, [server.url("/1.jpg")], sums) == 2
    after = _members(tmp_path)
    assert [before[name] == data for name, data in after.items()] == [True, True]
    gone = [row for row in rows(tmp_path) if row["status"] == "removed"]
    assert [(row["image"], row["text"], row["sha256"], row["phash"]) for row in gone] == [(None,) * 4] * 2
    assert matches(tmp_path / "images", removals) == {}
    server.image("/copy.jpg", jpeg(2))  # the same picture elsewhere, and the metadata name the first one again
    table(tmp_path / "meta" / "b.parquet", server, ["/1.jpg", "/copy.jpg", "/4.jpg"])
    assert run(tmp_path, web, server) == {"ok": 3, "removed": 3}
    assert server.url("/1.jpg") not in (tmp_path / "images" / "removed.csv").read_text()


def test_a_folder_that_starts_anew_does_not_fetch_it_again(tmp_path: Path, server: Server) -> None:
    web = table(tmp_path / "meta" / "a.parquet", server, ["/0.jpg", "/1.jpg"])
    run(tmp_path, web, server)
    _remove(tmp_path, [server.url("/1.jpg")], [])
    assert run(tmp_path, web, server, resize="longest", image_size=64) == {"ok": 1}


def test_a_removal_that_was_killed_after_the_rows_takes_the_images_next_time(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = table(tmp_path / "meta" / "a.parquet", server, ["/0.jpg", "/1.jpg"])
    run(tmp_path, web, server)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "keep_members", killed)
        with pytest.raises(KeyboardInterrupt):
            _remove(tmp_path, [server.url("/1.jpg")], [])
    assert len(_members(tmp_path)) == 2
    assert take_out_removed(tmp_path / "images") == 0
    assert len(_members(tmp_path)) == 1


def test_what_was_quarantined_goes_too(tmp_path: Path, server: Server) -> None:
    hashes = [hashlib.sha256(jpeg(number)).hexdigest() for number in (0, 5)]
    web = table(tmp_path / "meta" / "a.parquet", server, ["/0.jpg", "/1.jpg"], hash=hashes, hash_kind=["sha256"] * 2)
    assert run(tmp_path, web, server) == {"ok": 1, "hash_mismatch": 1}
    assert any(name.startswith("quarantine/") for name in _members(tmp_path))
    _remove(tmp_path, [server.url("/1.jpg")], [])
    assert not any(name.startswith("quarantine/") for name in _members(tmp_path))


def test_a_sum_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="is no sha256 sum"):
        Removals.of([], ["abc"])


def test_the_command_says_what_would_go_then_takes_it_out(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    run(tmp_path / "data", table(tmp_path / "meta" / "a.parquet", server, ["/0.jpg", "/1.jpg"]), server)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asked.txt").write_text(f"{server.url('/1.jpg')}\n{hashlib.sha256(jpeg(0)).hexdigest()}\n")

    def said(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["data", "remove", *arguments])
        return done.exit_code, done.output

    code, text = said("--list", "asked.txt")
    assert (code, "2 rows would go" in text, len(_members(tmp_path / "data"))) == (0, True, 2)
    assert not (tmp_path / "data" / "images" / "removed.csv").exists()
    code, text = said("--list", "asked.txt", "--yes")
    assert (code, "2 rows emptied" in text, _members(tmp_path / "data")) == (0, True, {})
    assert json.loads((tmp_path / "data" / "images" / "summary.json").read_text())["status"] == {"removed": 2}
    (tmp_path / "asked.txt").write_text("cat.jpg")
    assert said("--list", "asked.txt")[0] == 2
    assert said()[0] == 2
