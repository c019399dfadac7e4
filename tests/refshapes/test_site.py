from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from simpleseg_core.config import RefShapesConfig, WebConfig
from simpleseg_core.fetch import read_metadata
from simpleseg_core.geometry import decode_rle
from simpleseg_core.refshapes import describe, scene
from simpleseg_core.refshapes.site import BASE_URL, serve_folder, web_view

CONFIG = RefShapesConfig()
COUNT = 50


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return web_view(CONFIG, 3, COUNT, tmp_path_factory.mktemp("site"), broken=0.2).parent


def _path(site: Path, url: str) -> Path:
    return site / urlsplit(url).path.removeprefix("/")


def _outcome(path: Path) -> str:
    if not path.is_file():
        return "missing"
    if path.read_bytes().startswith(b"<!doctype html>"):
        return "html"
    try:
        Image.open(path).load()
    except OSError:
        return "truncated"
    return "ok"


def test_the_table_reads_as_laion_metadata(site: Path) -> None:
    rows = [
        row for table in read_metadata(WebConfig(metadata=str(site / "metadata.parquet"))) for row in table.to_pylist()
    ]
    assert len(rows) == COUNT
    assert rows[4]["text"] == describe(scene(CONFIG, 3, "train/web", 4))
    assert {(row["width"], row["height"]) for row in rows} == {(96, 96)}
    assert all(row["url"].startswith(BASE_URL) for row in rows)
    assert len({row["key"] for row in rows}) == COUNT


def test_the_share_of_broken_rows_is_as_asked_for_and_of_every_sort(site: Path) -> None:
    outcomes = [_outcome(_path(site, url)) for url in pq.read_table(site / "metadata.parquet")["URL"].to_pylist()]
    assert {name: outcomes.count(name) for name in set(outcomes)} == {"ok": 40, "missing": 4, "html": 3, "truncated": 3}


def test_the_truth_is_exact_for_every_image_that_can_be_had(site: Path) -> None:
    truth = pq.read_table(site / "truth.parquet").to_pylist()
    assert {row["url"] for row in truth} == {f"{BASE_URL}/images/{path.name}" for path in _intact(site)}
    for row in truth[:20]:
        drawn = scene(CONFIG, 3, "train/web", int(row["url"][-11:-4]))
        item = drawn.objects[row["object"]]
        mask = decode_rle({"size": [row["height"], row["width"]], "counts": row["rle_counts"]})
        assert np.array_equal(mask, item.mask)
        assert tuple(row["box"]) == item.box
        assert row["phrase"].endswith(f"{item.color} {item.shape}")


def _intact(site: Path) -> list[Path]:
    return [path for path in (site / "images").iterdir() if _outcome(path) == "ok"]


def test_two_views_of_one_seed_are_the_same_bytes(site: Path, tmp_path: Path) -> None:
    web_view(CONFIG, 3, COUNT, tmp_path, broken=0.2)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert all((tmp_path / name).read_bytes() == (site / name).read_bytes() for name in names)


def test_the_server_hands_out_files_on_loopback_only_while_it_lasts(site: Path) -> None:
    image = _intact(site)[0]
    with serve_folder(site) as base_url:
        assert urlsplit(base_url).hostname == "127.0.0.1"
        with urlopen(f"{base_url}/images/{image.name}") as response:  # noqa: S310
            body = response.read()
            assert response.headers["Content-Type"] == "image/jpeg"
        for absent in ("images/none.jpg", "images/", "../truth.parquet/x"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{base_url}/{absent}")  # noqa: S310
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(f"{base_url}/images/{image.name}", headers={"Host": "evil.test"}))  # noqa: S310
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).shape == (96, 96, 3)
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{base_url}/images/{image.name}", timeout=2)  # noqa: S310


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="no folder to serve"), serve_folder(tmp_path / "none"):
        pass
