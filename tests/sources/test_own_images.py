"""Files of one's own as shards: what is found, how it is named, and what becomes of files that are not images."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simpleseg_core.config import IngestConfig
from simpleseg_core.data.records import INGEST, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.sources.own_images import find_images, write_own_shards

RESULTS = Path("results")


def picture(path: Path, width: int = 40, height: int = 30, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)).save(path, **options)
    return path


def test_folders_are_searched_in_order_and_named_relative_to_them(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "deep/er/c.webp", "notes.md", "results/overlay.jpg"):
        picture(tmp_path / name) if name != "notes.md" else (tmp_path / name).write_text("no image")
    found = find_images([tmp_path], leave_out=tmp_path / "results")
    assert [image.key for image in found] == ["a", "b", "deep/er/c"]


def test_images_of_one_name_get_different_keys(tmp_path: Path) -> None:
    files = [picture(tmp_path / name) for name in ("one/a.jpg", "two/a.jpg", "two/a.png")]
    assert [image.key for image in find_images(files, RESULTS)] == ["a", "a-2", "a-3"]


def test_a_name_that_is_no_utf_8_is_no_obstacle(tmp_path: Path) -> None:
    first, second = (os.fsdecode(os.fsencode(tmp_path) + b"/caf" + byte + b".jpg") for byte in (b"\xe9", b"\xe8"))
    try:
        picture(Path(first)), picture(Path(second))
    except OSError:
        pytest.skip("this file system takes no such names")
    images = find_images([tmp_path], RESULTS)
    assert [image.key for image in images] == ["caf\N{REPLACEMENT CHARACTER}", "caf\N{REPLACEMENT CHARACTER}-2"]
    write_own_shards(images, tmp_path / "images", IngestConfig())
    row, _ = read_rows(tmp_path / "images", INGEST)
    assert row["url"].endswith("/caf\N{REPLACEMENT CHARACTER}.jpg")
    assert ImageStore(tmp_path).read(row["shard"], row["image"]).size == (40, 30)


def test_what_stands_beside_an_image_comes_along(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("a red circle\n")
    (tmp_path / "a.json").write_text("[]")
    [image] = find_images([file], RESULTS)
    assert (image.caption, image.boxes) == ("a red circle", "[]")
    shouted = picture(tmp_path / "B.JPG")
    (tmp_path / "B.TXT").write_text("a blue circle")
    assert find_images([shouted], RESULTS)[0].caption == "a blue circle"


def test_every_name_of_a_jpeg_is_known_and_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpe", "c.JFIF"):
        picture(tmp_path / "x.jpg").rename(tmp_path / name)
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (tmp_path / "e.pgm").write_bytes(b"P5 1 1 255\n0")
    (tmp_path / "f.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "notes.md").write_text("no image")
    written = write_own_shards(find_images([tmp_path], RESULTS), tmp_path / "images", IngestConfig())
    assert written.images == 3
    assert list(written.refused) == ["d", "e", "f"]
    assert all(written.refused[key].startswith("not an image") for key in "de")
    assert written.refused["d"].endswith("; .heic is not read: save it as JPEG or PNG")
    assert "No such file" in written.refused["f"]


def test_boxes_that_are_none_are_named_before_any_work(tmp_path: Path) -> None:
    files = [picture(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    (tmp_path / "a.json").write_text('[{"phrase": "dog", "box": [10, 20, 30, 40]}]')
    (tmp_path / "b.json").write_text('[{"phrase": "dog", "box": [0.1, 0.2, 0.3, 0.4]}]', encoding="utf-8-sig")
    written = write_own_shards(find_images(files, RESULTS), tmp_path / "images", IngestConfig())
    assert written.images == 1
    assert "a.json: the box [10.0, 20.0, 30.0, 40.0] of `dog` is not in 0..1" in written.refused["a"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_caption_is_read_as_editors_write_it(tmp_path: Path, encoding: str) -> None:
    file = picture(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("a café, red", encoding=encoding)
    assert find_images([file], RESULTS)[0].caption == "a café, red"


def test_folders_may_be_links_even_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    assert [image.key for image in find_images([tmp_path / "photos"], RESULTS)] == ["more/a"]


def test_paths_that_lead_to_no_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "none", "no such file or folder"), (tmp_path / "empty", "no image in it")):
        with pytest.raises(FileNotFoundError, match=said):
            find_images([path], RESULTS)
    with pytest.raises(ValueError, match="name another folder"):
        find_images([tmp_path], leave_out=tmp_path)


def test_a_plain_jpeg_is_kept_to_the_byte_and_others_become_one(tmp_path: Path) -> None:
    files = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.png")]
    written = write_own_shards(find_images(files, RESULTS), tmp_path / "images", IngestConfig())
    rows = read_rows(tmp_path / "images", INGEST)
    store = ImageStore(tmp_path)
    assert written.images == len(rows) == 2
    assert store.read_bytes(rows[0]["shard"], "a") == files[0].read_bytes()
    assert store.read(rows[1]["shard"], "b").size == (rows[1]["width"], rows[1]["height"]) == (40, 30)


def test_a_photograph_that_was_taken_sideways_is_stored_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    file = picture(tmp_path / "a.jpg", exif=exif)
    write_own_shards(find_images([file], RESULTS), tmp_path / "images", IngestConfig())
    [row] = read_rows(tmp_path / "images", INGEST)
    assert (row["width"], row["height"]) == (30, 40)
    assert ImageStore(tmp_path).read(row["shard"], "a").size == (30, 40)


def test_broken_files_are_left_out_with_the_reason(tmp_path: Path) -> None:
    whole = picture(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("not at all")
    picture(tmp_path / "vast.png", 200, 200)
    images = find_images([tmp_path], RESULTS)
    written = write_own_shards(images, tmp_path / "images", IngestConfig(max_pixels=20_000))
    assert written.images == 1
    assert {key: reason.partition(":")[0] for key, reason in written.refused.items()} == {
        "cut": "broken image",
        "text": "not an image",
        "vast": "too many pixels",
    }


def test_shards_of_an_earlier_bigger_run_are_gone(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{number:02d}.jpg") for number in range(9)]
    images = find_images(files, RESULTS)
    write_own_shards(images, tmp_path / "images", IngestConfig())
    assert len(list((tmp_path / "images").glob("*.tar"))) == 2
    write_own_shards(images[:3], tmp_path / "images", IngestConfig())
    assert sorted(file.name for file in (tmp_path / "images").iterdir()) == ["00000.parquet", "00000.tar"]
