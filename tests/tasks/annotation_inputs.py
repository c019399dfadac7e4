"""A small `images` folder as ingest leaves it, made without the network, and stages that run on it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from simpleseg_core.config import Config, RefShapesConfig
from simpleseg_core.contract import Context, StageResult
from simpleseg_core.data.perceptual_hash import phash
from simpleseg_core.data.records import INGEST, write_table
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.geometry import encode_rle
from simpleseg_core.refshapes import describe, phrase, scene
from tasks.graph import STAGES, load_stage

CHAIN = ("detect", "segment", "contour", "describe")


def write_refshapes(images: Path, shards: int = 2, per_shard: int = 4) -> None:
    """RefShapes scenes in shards, a failed row in each, and their exact masks in `truth.parquet`."""
    truth = []
    for number in range(shards):
        stem, rows, files = f"{number:05d}", [], []
        for index in range(number * per_shard, (number + 1) * per_shard):
            drawn = scene(RefShapesConfig(), 2, "train", index)
            key, url = f"{index:08d}", f"http://shapes.test/{index}.jpg"
            files.append((f"{key}.jpg", encode_jpeg(drawn.image)))
            row = {"row_id": key, "url": url, "text": describe(drawn), "status": "ok", "sha256": key}
            row |= {"image": key, "shard": f"images/{stem}.tar", "width": 96, "height": 96}
            rows.append(row | {"phash": phash(Image.fromarray(drawn.image))})
            truth += [
                {"url": url, "phrase": phrase(item), "box": list(item.box), "height": 96, "width": 96}
                | {"rle_counts": encode_rle(item.mask)["counts"]}
                for item in drawn.objects
            ]
        rows.append({"row_id": f"bad{number}", "url": "http://shapes.test/gone.jpg", "status": "http_404"})
        write_shard(files, images / f"{stem}.tar")
        write_table(rows, INGEST, images / f"{stem}.parquet")
    pq.write_table(pa.Table.from_pylist(truth), images / "truth.parquet")


def run_stage(name: str, root: Path, config: Config) -> StageResult:
    """A stage on the folders of `graph`, below `root`."""
    spec, work = STAGES[name], root / "work" / name
    work.mkdir(parents=True, exist_ok=True)
    inputs = {role: root / path for role, path in spec.inputs.items()}
    outputs = {role: root / path for role, path in spec.outputs.items()}
    return load_stage(name)(config, inputs, outputs, Context(work))
