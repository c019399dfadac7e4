"""The stage that makes datasets: pre-training from our annotations; SFT, RL and benchmarks from RefShapes or COCO."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.data.coco import is_held_out
from simpleseg_core.data.compose import Row, answer_tokens, composition, pretrain_rows, prompt_rows, sft_rows
from simpleseg_core.data.leakage import LeakageFilter
from simpleseg_core.data.records import CONVERSATIONS, DESCRIPTIONS, INGEST, PROMPTS, read_rows, write_table
from simpleseg_core.data.views import ViewedImage, annotated_views, described_views, scene_views
from simpleseg_core.files import write_json
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult
from simpleseg_core.stages._shards import shard_tables

_RL_OFFSET = 1_000_000
"""First RefShapes scene of the RL prompts; SFT takes those from 0."""
_SPLITS = ("val", "testA", "testB")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _World:
    """Where gold masks come from."""

    name: str
    benchmarks: Mapping[str, Iterable[ViewedImage]]
    sft: Iterable[ViewedImage]
    rl: Iterable[ViewedImage]
    queries_per_image: int | None
    """Queries of each benchmark image; None: all."""


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `dataset` with the tables, the images of the scenes, and `composition.json`."""
    ingested = [row for path in shard_tables(inputs["images"]) for row in read_rows(path, INGEST)]
    described = [row for path in shard_tables(inputs["descriptions"]) for row in read_rows(path, DESCRIPTIONS)]
    phashes = {row["image"]: row["phash"] or "" for row in ingested if row["image"]}
    world = _coco(config, ingested) if config.data.source == "coco" else _refshapes(config, outputs["dataset"])
    leakage = LeakageFilter()
    pass_on = leakage.keep if config.dataset.leakage_filter else iter
    context.progress.start(len(world.benchmarks) + 3, "tables")
    tables: dict[str, Sequence[Row]] = {}
    for name, rows in [
        *((name, _benchmark(name, world, leakage, config)) for name in world.benchmarks),
        ("pretrain", pretrain_rows(pass_on(described_views(described, phashes)), config)),
        ("sft", sft_rows(pass_on(world.sft), config)),
        ("rl", prompt_rows(pass_on(world.rl), config)),
    ]:
        tables[name] = list(rows)
        _write(name, tables[name], outputs["dataset"])
        context.progress.advance()
    return _result(tables, world.name, leakage, outputs["dataset"])


def _refshapes(config: Config, folder: Path) -> _World:
    def scenes(split: str, indices: range, name: str) -> Iterator[ViewedImage]:
        return scene_views(config.data.refshapes, config.seed, split, indices, f"refshapes-{name}", folder)

    wanted = config.data.benchmark_queries
    return _World(
        "refshapes",
        {f"refshapes/{split}": scenes(split, range(wanted[split]), split) for split in _SPLITS if wanted.get(split)},
        scenes("train", range(config.data.train_images), "sft"),
        scenes("train", range(_RL_OFFSET, _RL_OFFSET + config.data.rl_images), "rl"),
        queries_per_image=1,
    )


def _coco(config: Config, ingested: Sequence[Row]) -> _World:
    images = [row for row in ingested if row["status"] == "ok" and row["annotations"]]
    test = [row for row in images if is_held_out(row["image"], config.seed, config.data.coco.holdout)]
    held_out = {row["image"] for row in test}
    train = [row for row in images if row["image"] not in held_out]
    if not train or not test:
        raise ValueError(
            f"data.coco: {len(train)} images to train on and {len(test)} held out: raise data.coco.max_images, "
            "or change data.coco.holdout or seed"
        )
    return _World(
        "coco",
        {"coco/val": annotated_views(test, config.contour)},
        annotated_views(train, config.contour),
        annotated_views(train[: config.data.rl_images], config.contour),
        queries_per_image=None,
    )


def _benchmark(name: str, world: _World, leakage: LeakageFilter, config: Config) -> Iterator[Row]:
    images = leakage.remember(world.benchmarks[name])
    return prompt_rows(images, config, benchmark=name, per_image=world.queries_per_image)


def _write(name: str, rows: Sequence[Row], folder: Path) -> None:
    if "/" in name:
        write_table(rows, PROMPTS, folder / "benchmarks" / f"{name.replace('/', '-')}.parquet")
    else:
        write_table(rows, PROMPTS if name == "rl" else CONVERSATIONS, folder / f"{name}.parquet")
    if not rows:
        _log.warning("%s is empty: loosen the filters of `contour`, or raise the sizes under `data`", name)


def _result(tables: Mapping[str, Sequence[Row]], gold: str, leakage: LeakageFilter, folder: Path) -> StageResult:
    table = composition(tables, gold)
    tokens = {name: answer_tokens(tables[name]) for name in ("pretrain", "sft")}
    dropped = dict(sorted(leakage.dropped.items()))
    write_json(folder / "composition.json", {"composition": table, "answer_tokens": tokens, "leaked_images": dropped})
    metrics = {f"{name.replace('/', '_')}_rows": float(len(rows)) for name, rows in tables.items()}
    metrics |= {"leaked_images": float(sum(dropped.values())), "sft_answer_tokens": tokens["sft"]["mean"]}
    return StageResult(metrics=metrics, tables={"composition": table})
