"""The ingest stage on real sources, small."""

import json
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.data.records import INGEST, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.stages import ingest
from simpleseg_core.stages._base import Context, StageResult


def run(tmp_path: Path, **sections: object) -> tuple[StageResult, Path]:
    config = Config.model_validate(sections)
    images = tmp_path / "data" / "images"
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return ingest.run(config, {}, {"images": images}, Context(work)), images


def shards(images: Path) -> list[Path]:
    return sorted(images.glob("[0-9]*.parquet"))


def test_photographs_of_a_coco_folder_keep_their_names_and_annotations(tmp_path: Path, coco_tiny: Path) -> None:
    result, images = run(tmp_path, data={"source": "coco", "coco": {"root": str(coco_tiny), "max_images": 12}})
    rows = [row for shard in shards(images) for row in read_rows(shard, INGEST)]
    assert result.metrics["images"] == 12
    for row in rows:
        assert row["image"] == row["row_id"]
        assert ImageStore(images.parent).read(row["shard"], row["image"]).size == (row["width"], row["height"])
        assert all(set(item) >= {"phrase", "box"} for item in json.loads(row["annotations"]))
