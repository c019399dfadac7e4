"""The dataset names the pixels it was made of: it changes with them, and with nothing else in the ingested folder."""

from pathlib import Path
from shutil import copytree

import pytest

from simpleseg_core.config import Config
from simpleseg_core.data.records import CONVERSATIONS, INGEST, read_rows, write_table
from simpleseg_core.data.shards import ImageStore, write_shard
from tests.fetch.server import jpeg
from tests.tasks.annotation_inputs import CHAIN, run_stage, write_refshapes

CONFIG = Config.model_validate(
    {"data": {"train_images": 2, "rl_images": 2, "benchmark_queries": {"val": 2}}, "contour": {"tolerance": 0.02}}
)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated")
    write_refshapes(folder / "data" / "images", shards=1, per_shard=4)
    for name in CHAIN:
        run_stage(name, folder, CONFIG)
    return folder


@pytest.fixture
def root(annotated: Path, tmp_path: Path) -> Path:
    copytree(annotated, tmp_path, dirs_exist_ok=True)
    return tmp_path


def dataset(root: Path) -> dict[str, bytes]:
    run_stage("dataset", root, CONFIG)
    folder = root / "data" / "dataset"
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_images_that_nothing_was_found_on_change_no_byte_of_the_dataset(root: Path) -> None:
    before = dataset(root)
    images = root / "data" / "images"
    write_shard([("00009000000.jpg", jpeg(1))], images / "00009.tar")
    row = {"row_id": "x", "url": "http://a.org/x", "text": "", "status": "ok", "image": "00009000000"}
    write_table([row | {"shard": "images/00009.tar", "phash": "00" * 8}], INGEST, images / "00009.parquet")
    run_stage("detect", root, CONFIG)
    assert dataset(root) == before


def test_other_pixels_of_an_image_that_is_used_change_its_table_alone(root: Path) -> None:
    before = dataset(root)
    rows = read_rows(root / "data" / "dataset" / "pretrain.parquet", CONVERSATIONS)
    store, used = ImageStore(root / "data"), rows[0]["image"]
    bodies = {key: store.read_bytes("images/00000.tar", key) for key in store.keys("images/00000.tar")}
    bodies[used] += b"\0"
    write_shard([(f"{key}.jpg", body) for key, body in bodies.items()], root / "data" / "images" / "00000.tar")
    after = dataset(root)
    assert {name for name in before if before[name] != after[name]} == {"pretrain.parquet"}


def test_pixels_are_named_where_their_shard_belongs_to_another_stage(root: Path) -> None:
    dataset(root)
    store = ImageStore(root / "data")
    for row in read_rows(root / "data" / "dataset" / "pretrain.parquet", CONVERSATIONS):
        assert row["pixels"] == store.digest(row["shard"], row["image"])
    for row in read_rows(root / "data" / "dataset" / "sft.parquet", CONVERSATIONS):
        assert row["shard"].startswith("dataset/")
        assert row["pixels"] is None
