"""Metadata tables are read in the schemas the field uses, and bad ones are named before any work starts."""

import math
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.config import DataConfig, FilterConfig, WebConfig
from simpleseg_core.fetch import METADATA, read_metadata, url_key
from simpleseg_core.fetch._metadata import _file_name
from simpleseg_core.fetch._parquet import MEMORY_MIB

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


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("https://host/a/t.parquet?X-Amz-Signature=1/2", "t.parquet"),
        ("https://host/t.parquet#x", "t.parquet"),
        ("bucket/a/t.parquet", "t.parquet"),
        ("/data/what?.parquet", "what?.parquet"),
    ],
)
def test_rows_name_their_file_without_the_query_of_its_address(file: str, name: str) -> None:
    assert _file_name(file) == name


def read(location: Path, schema: str, **settings: Any) -> list[dict[str, Any]]:
    web = WebConfig(metadata=str(location), schema_name=schema, **settings)  # type: ignore[arg-type]
    return [row for table in read_metadata(web) for row in table.to_pylist()]


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


def test_the_case_of_a_suffix_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "A.PARQUET", LAION)
    (tmp_path / "_SUCCESS").touch()
    assert [row["url"] for row in read(tmp_path, "laion")] == [URL]


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
        (LAION | {"similarity": 31.0}, {}, "column similarity has 31.0 and not one value .* a number from -1 to 1"),
        (LAION | {"WIDTH": "wide"}, {}, "column WIDTH has 'wide' and not one value that can be used"),
        (LAION | {"WIDTH": date(2020, 1, 1)}, {}, "column WIDTH has the type date32.*, but `width` is a number"),
        (LAION | {"punsafe": True}, {}, "column punsafe has the type bool, but `punsafe` is a number from 0 to 1"),
        (LAION | {"TEXT": ["a cat"]}, {}, "column TEXT has the type list<"),
        (LAION | {"TEXT": b"caf\xe9"}, {}, "column TEXT has .* but `text` is UTF-8 text"),
        (LAION | {"url": URL}, {}, "2 columns for `url`: URL, url"),
        (LAION, {"columns": {"image": "LICENSE"}}, "data.web.columns: image is none of the names"),
        (LAION, {"columns": {"licence": "LICENSE"}}, "did you mean `license`"),
        (LAION | {"kind": "crc32"}, {"columns": {"hash_kind": "kind"}}, "column kind has 'crc32'"),
        (LAION | {"md5": "ab"}, {"columns": {"hash": "md5"}}, "column md5 .* of no known kind: .* as `hash_kind` in"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, row: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "a.parquet", row), "laion", **settings)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([640.0, math.nan], None),
        ([640, -1], None),
        ([640.0, 640.5], None),
        ([640.0, math.inf], None),
        ([640, 2**40], None),
        ([640, 0], None),
        (["640", "wide"], None),
        (["640", "480"], 480),
        ([Decimal(640), Decimal(480)], 480),
        ([640, None], None),
    ],
)
def test_an_odd_number_is_missing_in_its_row(tmp_path: Path, values: list[Any], expected: int | None) -> None:
    file = write(tmp_path / "a.parquet", *[LAION | {"WIDTH": value} for value in values])
    assert [row["width"] for row in read(file, "laion")] == [640, expected]


def test_numbers_that_a_table_does_not_have_are_no_fault_of_the_column(tmp_path: Path) -> None:
    for odd in (-1.0, math.nan):
        (found,) = read(write(tmp_path / "a.parquet", LAION | {"punsafe": odd, "WIDTH": odd}), "laion")
        assert (found["punsafe"], found["width"], found["url"]) == (None, None, URL)


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_that_is_not_utf8_costs_its_row(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array([b"caf\xc3\xa9", b"caf\xe9", b"tea", b"x" * 40_000])
    urls = pa.array([b"http://a.org/1", b"http://a.org/2", b"http://a.org/\xff", None])
    columns = {"URL": urls.cast(pa.string(), safe=False), "TEXT": texts}
    if pa.types.is_dictionary(kind):
        columns["TEXT"] = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), texts)
    else:
        columns["TEXT"] = texts.cast(kind, safe=False)
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read(tmp_path, "laion")
    assert [row["text"] for row in found] == ["caf\u00e9", None, "tea", None]
    assert [row["url"] for row in found] == ["http://a.org/1", "http://a.org/2", None, None]


def shared_text(path: Path, rows: int, size: int) -> Path:
    """A small file that holds one long text in every row."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * size])
    table = pa.table({"URL": [f"http://a.org/{number}" for number in range(rows)], "TEXT": text})
    pq.write_table(table, path, store_schema=False)
    assert path.stat().st_size < 3_000_000
    return path


_PEAK = """
import resource, sys
from simpleseg_core.config import WebConfig
from simpleseg_core.fetch import read_metadata
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(sum(table.num_rows for table in read_metadata(WebConfig(metadata=sys.argv[1]))))
except ValueError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("rows", "size", "said"),
    [
        (8_192, 200_000, "column TEXT has 'xxx.* text of at most 32768 bytes"),
        (512, 20_000_000, "column TEXT unpacks to more than 1024 MiB within 1024 rows"),
    ],
)
def test_a_text_in_every_row_is_read_in_bounded_memory(
    tmp_path: Path, repository: Path, rows: int, size: int, said: str
) -> None:
    file = shared_text(tmp_path / "bomb.parquet", rows, size)
    done = subprocess.run([sys.executable, "-c", _PEAK, str(file)], cwd=repository, stdout=subprocess.PIPE, text=True)
    reason, mebibytes = done.stdout.splitlines()
    assert re.search(rf"bomb\.parquet: {said}", reason)
    assert int(mebibytes) < MEMORY_MIB + 200


def test_long_texts_make_small_tables(tmp_path: Path) -> None:
    shared_text(tmp_path / "a.parquet", 4_000, 30_000)
    sizes = [table.nbytes for table in read_metadata(WebConfig(metadata=str(tmp_path)))]
    assert sum(sizes) > 120_000_000
    assert max(sizes) < 64_000_000


def test_columns_of_all_files_are_checked_before_the_first_row(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", LAION)
    write(tmp_path / "b.parquet", {"something": 1})
    tables = read_metadata(WebConfig(metadata=str(tmp_path)))
    with pytest.raises(ValueError, match=r"b\.parquet"):
        next(tables)


def damaged(file: Path, damage: str) -> Path:
    """A file of 4000 rows in groups of 100, not all of which can be read."""
    rows = [LAION | {"URL": f"http://a.org/{i}", "TEXT": str(i) * 50} for i in range(4000)]
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=100, compression="none")
    body = bytearray(file.read_bytes())
    match damage:
        case "not parquet":
            body = bytearray(b"URL,TEXT\n")
        case "cut":
            del body[len(body) // 2 :]
        case "header":
            body[-2000:-8] = bytes(1992)
        case "first page":
            body[4:20_000] = b"\xff" * 19_996
        case "later page":
            middle = body.index(b"3000" * 50)
            body[middle - 3000 : middle + 20_000] = b"\xff" * 23_000
    file.write_bytes(body)
    return file


@pytest.mark.parametrize("damage", ["not parquet", "cut", "header", "first page"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    column = "column .* is damaged" if "page" in damage else "not a readable parquet file"
    with pytest.raises(ValueError, match=rf"bad\.parquet: {column}.* take it out of the folder"):
        read(damaged(tmp_path / "bad.parquet", damage), "laion")


@pytest.mark.parametrize("damage", ["not parquet", "cut", "header", "first page", "later page"])
def test_a_damaged_file_takes_no_other_with_it(tmp_path: Path, damage: str) -> None:
    damaged(tmp_path / "bad.parquet", damage)
    write(tmp_path / "good.parquet", LAION)
    named: list[str] = []
    urls = [
        url for table in read_metadata(WebConfig(metadata=str(tmp_path)), named) for url in table["url"].to_pylist()
    ]
    before = [f"http://a.org/{number}" for number in range(len(urls) - 1)]
    assert urls == [*before, URL]
    assert 0 < len(before) <= 3000 if damage == "later page" else not before
    (reason,) = named
    assert "bad.parquet" in reason


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_is_damaged_rows_come_or_the_file_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = write(tmp_path_factory.mktemp("damage") / "bad.parquet", *[LAION | {"SAMPLE_ID": i} for i in range(20)])
    body = bytearray(file.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=8)):
        body[place] = data.draw(st.integers(0, 255))
    file.write_bytes(body)
    reason = _reason(file)
    assert reason is None or str(file) in reason


def _reason(file: Path) -> str | None:
    """Why a file cannot be read, None where it can."""
    try:
        read(file, "laion")
    except ValueError as error:
        return str(error)
    return None


def test_an_empty_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.web\.metadata"):
        read(tmp_path, "laion")


def test_web_sources_must_decide_about_safety() -> None:
    with pytest.raises(ValueError, match=r"data\.web\.filters\.max_punsafe is not decided"):
        DataConfig.model_validate({"source": "web", "web": {"metadata": "x.parquet"}})
    for decided in (0.1, "off"):
        web = {"metadata": "x.parquet", "filters": {"max_punsafe": decided}}
        assert DataConfig.model_validate({"source": "web", "web": web}).web.filters.max_punsafe == decided
