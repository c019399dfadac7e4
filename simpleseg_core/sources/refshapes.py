"""The procedural world: as a web site that is really downloaded, and as scenes with exact masks."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from zlib import crc32

import numpy as np
from PIL import Image

from simpleseg_core.config import Config, RefShapesConfig, WebConfig
from simpleseg_core.config.refshapes import ExpressionWeights
from simpleseg_core.data.perceptual_hash import phash
from simpleseg_core.data.shards import encode_jpeg, write_shard
from simpleseg_core.fetch import read_metadata
from simpleseg_core.instructions.labels import LabelledImage
from simpleseg_core.instructions.scenes import scene_labels
from simpleseg_core.refshapes import Scene, scene
from simpleseg_core.refshapes.site import BASE_URL, serve_folder, web_view
from simpleseg_core.sources._protocol import Gold, Opened, Source

_PATIENCE_S = 120.0
"""Seconds for one image from our own server."""
_RL_OFFSET = 1_000_000
"""First scene of the RL prompts; SFT takes those from 0."""
_SPLITS = ("val", "testA", "testB")
_SHARD_SIZE = 500
_QUALITY = 95


@contextmanager
def _open(config: Config, work: Path) -> Iterator[Opened]:
    """The synthetic world as a site of JPEG files with a LAION table, really served and really downloaded."""
    site = work / "site"
    shutil.rmtree(site, ignore_errors=True)
    metadata = web_view(config.data.refshapes, config.seed, config.data.web_images, site)
    with serve_folder(site) as base_url:
        identity = {
            "refshapes": config.data.refshapes.model_dump(),
            "images": config.data.web_images,
            "seed": config.seed,
        }
        tables = read_metadata(WebConfig(metadata=str(metadata)))
        # Tables must not depend on the port of the day: the site keeps its name, only connections are redirected.
        routes = {f"{urlsplit(BASE_URL).netloc}:80": urlsplit(base_url).netloc}
        # The tables must not depend on how busy the machine is either.
        patient = config.ingest.model_copy(update={"timeout_s": max(config.ingest.timeout_s, _PATIENCE_S)})
        yield Opened(identity, tables, patient, routes=routes, truth=site / "truth.parquet")


def _gold(config: Config, ingested: Path, folder: Path) -> Gold:
    shapes = config.data.refshapes

    def scenes(
        split: str, indices: range, name: str, asked: ExpressionWeights | None = None
    ) -> Iterator[LabelledImage]:
        world = shapes.model_copy(update={"expressions": asked or shapes.expressions})
        return scene_images(world, config.seed, split, indices, f"refshapes-{name}", folder)

    wanted = config.data.benchmark_queries
    return Gold(
        {f"refshapes/{split}": scenes(split, range(wanted[split]), split) for split in _SPLITS if wanted.get(split)},
        scenes("train", range(config.data.train_images), "sft", shapes.sft_expressions),
        scenes("train", range(_RL_OFFSET, _RL_OFFSET + config.data.rl_images), "rl", shapes.rl_expressions),
        queries_per_image=1,
    )


def _check(config: Config) -> None:
    folder = config.data.refshapes.photo_dir
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; set data.refshapes.photo_dir to one of photographs")


SOURCE = Source(_open, _gold, _check)


def scene_images(
    config: RefShapesConfig, seed: int, split: str, indices: range, name: str, folder: Path
) -> Iterator[LabelledImage]:
    """RefShapes scenes, written to JPEG shards `folder/images/NAME-00000.tar` as they are made."""
    for number, start in enumerate(range(0, len(indices), _SHARD_SIZE)):
        scenes = {index: scene(config, seed, split, index) for index in indices[start : start + _SHARD_SIZE]}
        tar = folder / "images" / f"{name}-{number:05d}.tar"
        keys = {index: f"{name}-{index:07d}" for index in scenes}
        write_shard(((f"{keys[i]}.jpg", encode_jpeg(item.image, _QUALITY)) for i, item in scenes.items()), tar)
        shard = f"{folder.name}/images/{tar.name}"
        yield from (_scene_image(item, keys[index], shard, seed) for index, item in scenes.items())


def _scene_image(item: Scene, key: str, shard: str, seed: int) -> LabelledImage:
    height, width = item.image.shape[:2]
    labels = scene_labels(item, np.random.default_rng([seed, crc32(key.encode())]))
    return LabelledImage(key, shard, width, height, phash(Image.fromarray(item.image)), "refshapes", labels)
