"""Metadata tables are read in the schemas the field uses, and bad ones are named before any work starts."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.config import DataConfig, FilterConfig, WebConfig
from simpleseg_core.data.web import METADATA, read_metadata, url_key

URL = "http://example.org/a.jpg"

LAION = {
    "SAMPLE_ID": 7.0, "URL": URL, "TEXT": "a cat", "HEIGHT": 300.0, "WIDTH": 400.0, "LICENSE": "?", "NSFW": "UNLIKELY",
    "similarity": 0.31, "hash": -123, "punsafe": 0.01, "pwatermark": 0.2, "LANGUAGE": "en",
}  # fmt: skip
LAION_COCO = {
    "URL": URL, "TEXT": "cat-pic-1", "top_caption": "a cat", "all_captions": ["a cat", "cat"],
    "all_similarities": [0.3, 0.2], "WIDTH": 400, "HEIGHT": 300, "similarity": 0.31, "hash": 5, "pwatermark": 0.2,
    "punsafe": 0.01,
}  # fmt: skip
COYO = {
    "id": 7, "url": URL, "text": "a cat", "width": 400, "height": 300, "image_phash": "f0e1d2c3b4a59687",
    "text_length": 5, "word_count": 2, "num_faces": 0, "clip_similarity_vitb32": 0.31, "clip_similarity_vitl14": 0.3,
    "nsfw_score_opennsfw2": 0.01, "nsfw_score_gantman": 0.02, "watermark_score": 0.2, "aesthetic_score_laion_v2": 5.0,
}  # fmt: skip
DATACOMP = {
    "uid": "00ab", "url": URL, "text": "a cat", "original_width": 400, "original_height": 300,
    "clip_b32_similarity_score": 0.31, "clip_l14_similarity_score": 0.3, "sha256": "ab" * 32,
}  # fmt: skip


def write(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def read(location: Path, schema: str, **settings: Any) -> list[dict[str, Any]]:
    web = WebConfig(metadata=str(location), schema_name=schema, **settings)  # type: ignore[arg-type]
    return pa.concat_tables(read_metadata(web)).to_pylist()


@pytest.mark.parametrize(
    ("schema", "row", "expected"),
    [
        (
            "laion",
            LAION,
            {"row_id": "7", "punsafe": 0.01, "watermark": 0.2, "license": "?", "language": "en", "hash": None},
        ),
        ("laion_coco", LAION_COCO, {"row_id": f"{url_key(URL):016x}", "punsafe": 0.01, "watermark": 0.2}),
        ("coyo", COYO, {"row_id": "7", "hash": "f0e1d2c3b4a59687", "hash_kind": "phash", "punsafe": 0.01}),
        ("datacomp", DATACOMP, {"row_id": "00ab", "hash": "ab" * 32, "hash_kind": "sha256", "punsafe": None}),
    ],
)
def test_published_schemas(tmp_path: Path, schema: str, row: dict[str, Any], expected: dict[str, Any]) -> None:
    (found,) = read(write(tmp_path / "part-0.parquet", row), schema)
    assert list(found) == METADATA.names
    common = {"url": URL, "text": "a cat", "width": 400, "height": 300, "similarity": 0.31} | expected
    assert {name: found[name] for name in common} == pytest.approx(common)
    assert found["source"] == f"{schema}:part-0.parquet"


def test_any_table_can_be_mapped(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"image_link": URL, "alt": "a cat", "cc": "CC-BY", "sum": "ab", "kind": "md5"})
    names = {"url": "image_link", "text": "alt", "license": "cc", "hash": "sum", "hash_kind": "kind"}
    (found,) = read(file, "generic", columns=names)
    assert (found["url"], found["text"], found["license"], found["hash_kind"]) == (URL, "a cat", "CC-BY", "md5")


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "b.parquet", LAION | {"TEXT": "second"})
    write(tmp_path / "a.parquet", LAION | {"TEXT": "first"})
    write(tmp_path / "deep" / "c.parquet", LAION | {"TEXT": "third"})
    assert [row["text"] for row in read(tmp_path, "laion")] == ["first", "second", "third"]


def test_any_file_system_will_do(tmp_path: Path) -> None:
    import fsspec

    with fsspec.filesystem("memory").open("/tables/a.parquet", "wb") as file:
        file.write(write(tmp_path / "a.parquet", LAION).read_bytes())
    (found,) = pa.concat_tables(read_metadata(WebConfig(metadata="memory://tables"))).to_pylist()
    assert found["url"] == URL


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ({"link": URL, "TEXT": "x"}, {}, "no column for url"),
        (LAION, {"columns": {"license": "rights"}}, "no column for license"),
        ({"URL": URL, "TEXT": "x"}, {"filters": FilterConfig(max_punsafe=0.1)}, "no column for punsafe"),
        (LAION | {"similarity": 31.0}, {}, "similarity goes from 31 to 31"),
        (LAION | {"punsafe": -1.0}, {}, "punsafe"),
        (LAION | {"WIDTH": "wide"}, {}, "WIDTH cannot be read"),
        (LAION | {"kind": "crc32"}, {"columns": {"hash_kind": "kind"}}, "column kind has 'crc32'"),
        (LAION | {"md5": "ab"}, {"columns": {"hash": "md5"}}, "column md5 .* of no known kind: .* as `hash_kind` in"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, row: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "a.parquet", row), "laion", **settings)


def test_columns_of_all_files_are_checked_before_the_first_row(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", LAION)
    write(tmp_path / "b.parquet", {"something": 1})
    tables = read_metadata(WebConfig(metadata=str(tmp_path)))
    with pytest.raises(ValueError, match=r"b\.parquet"):
        next(tables)


@pytest.mark.parametrize("damage", ["not parquet", "cut"])
def test_damaged_files_are_named(tmp_path: Path, damage: str) -> None:
    file = write(tmp_path / "bad.parquet", *[LAION | {"TEXT": str(i) * 50} for i in range(2000)])
    body = file.read_bytes()
    file.write_bytes(b"URL,TEXT\n" if damage == "not parquet" else body[: len(body) // 2])
    with pytest.raises(ValueError, match=r"bad\.parquet"):
        read(file, "laion")


def test_damaged_pages_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "bad.parquet", *[LAION | {"TEXT": str(i) * 50} for i in range(2000)])
    body = bytearray(file.read_bytes())
    body[100:4000] = b"\xff" * 3900
    file.write_bytes(body)
    with pytest.raises(ValueError, match=r"bad\.parquet"):
        read(file, "laion")


def test_an_empty_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.web\.metadata"):
        read(tmp_path, "laion")


def test_web_sources_must_decide_about_safety() -> None:
    with pytest.raises(ValueError, match=r"data\.web\.filters\.max_punsafe is not decided"):
        DataConfig.model_validate({"source": "web", "web": {"metadata": "x.parquet"}})
    for decided in (0.1, "off"):
        web = {"metadata": "x.parquet", "filters": {"max_punsafe": decided}}
        assert DataConfig.model_validate({"source": "web", "web": web}).web.filters.max_punsafe == decided
