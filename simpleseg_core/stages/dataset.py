"""The stage that makes datasets: pre-training from our annotations; SFT, RL and benchmarks from gold masks."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from simpleseg_core.config import Config, ReferringConfig
from simpleseg_core.config.refshapes import ExpressionWeights
from simpleseg_core.data.coco import is_held_out
from simpleseg_core.data.compose import (
    Composition,
    Row,
    length_histogram,
    length_statistics,
    pretrain_rows,
    prompt_rows,
    sft_rows,
)
from simpleseg_core.data.leakage import LeakageFilter
from simpleseg_core.data.records import CONVERSATIONS, DESCRIPTIONS, INGEST, PROMPTS, read_rows, write_table
from simpleseg_core.data.referring import ReferringSet, read_referring
from simpleseg_core.data.tokens import TokenCounter, answer_counter
from simpleseg_core.data.views import (
    Packed,
    ViewedImage,
    annotated_views,
    described_views,
    pack_pictures,
    referring_views,
    scene_views,
)
from simpleseg_core.files import write_json
from simpleseg_core.stages._base import Context, Inputs, Outputs, Progress, StageResult
from simpleseg_core.stages._shards import shard_tables

_RL_OFFSET = 1_000_000
"""First RefShapes scene of the RL prompts; SFT takes those from 0."""
_SPLITS = ("val", "testA", "testB")
_TRAIN = "train"
_log = logging.getLogger(__name__)

Views = Iterable[ViewedImage]


@dataclass(frozen=True, slots=True)
class _World:
    """Where gold masks come from."""

    benchmarks: Mapping[str, Views]
    sft: Views
    rl: Views
    """More than `data.rl_images` may be on offer: the first that are not leaked are taken."""
    queries_per_image: int | None = None
    """Queries of each benchmark image; None: all."""
    held_out: Mapping[str, Views] = field(default_factory=dict)
    """Splits that are no benchmarks, but must not be trained on."""


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `dataset` with the tables, the images of scenes and referring sets, and `composition.json`."""
    sources = _sources(config)
    sets = [(each, read_referring(each)) for each in config.data.referring]
    counter = answer_counter(config.model)
    annotations = _annotations(inputs)
    worlds = [_OPEN[name](config, inputs["images"], outputs["dataset"]) for name in sources if name in _OPEN]
    if sets:
        worlds.append(_referring(config, sets, outputs["dataset"], context.progress))
    leakage = LeakageFilter(drop=config.dataset.leakage_filter)
    composition = Composition(counter.count)
    context.progress.start(sum(len(world.benchmarks) for world in worlds) + 3, "tables")
    for name, rows in _tables(worlds, annotations, leakage, counter, config):
        _write(name, composition.watch(name, rows), outputs["dataset"])
        if not composition.rows[name]:
            _log.warning("%s is empty: loosen the filters of `contour`, or raise the sizes under `data`", name)
        context.progress.advance()
    return _result(composition, leakage, counter, config, outputs["dataset"])


def _sources(config: Config) -> list[str]:
    """Names of the sources of gold masks in use.

    Raises:
        ValueError: `dataset.source_weights` names a source that there is none of.
    """
    weights, data = config.dataset.source_weights, config.data
    sets = [each.name for each in data.referring]
    usual = "coco" if data.source == "coco" else "refshapes"
    added = [name for name in ("refshapes", "coco") if weights.get(name, 0) > 0] if sets else [usual]
    known = {*sets, "refshapes", "annotations", *(["coco"] if data.source == "coco" else [])}
    if unknown := sorted(set(weights) - known):
        raise ValueError(
            f"dataset.source_weights names {', '.join(unknown)}, but the sources are {', '.join(sorted(known))}: "
            "add the set to data.referring, or leave the weight out"
        )
    return [*added, *sets]


def _annotations(inputs: Inputs) -> Views:
    """Images of our own annotation pipeline, a shard at a time."""
    shards, ingested = shard_tables(inputs["descriptions"]), shard_tables(inputs["images"])
    phashes = {row["image"]: row["phash"] or "" for path in ingested for row in read_rows(path, INGEST) if row["image"]}
    return chain.from_iterable(described_views(read_rows(path, DESCRIPTIONS), phashes) for path in shards)


def _tables(
    worlds: Sequence[_World], annotations: Views, leakage: LeakageFilter, counter: TokenCounter, config: Config
) -> Iterator[tuple[str, Iterable[Row]]]:
    """Names and rows of all tables: every split that training must not show comes before the first training table."""
    for world in worlds:
        for split, images in world.held_out.items():
            for _ in leakage.remember(images, split):
                pass
        for name, images in world.benchmarks.items():
            seen = leakage.remember(images, name)
            yield name, prompt_rows(seen, config, benchmark=name, per_image=world.queries_per_image)
    sft = chain.from_iterable(world.sft for world in worlds)
    rl = [prompt_rows(islice(leakage.keep(world.rl), config.data.rl_images), config) for world in worlds]
    yield "pretrain", pretrain_rows(leakage.keep(annotations), config, counter.count)
    yield "sft", sft_rows(leakage.keep(sft), config, counter.count)
    yield "rl", chain.from_iterable(rl)


def _refshapes(config: Config, ingested: Path, folder: Path) -> _World:
    shapes = config.data.refshapes

    def scenes(split: str, indices: range, name: str, asked: ExpressionWeights | None = None) -> Iterator[ViewedImage]:
        world = shapes.model_copy(update={"expressions": asked or shapes.expressions})
        return scene_views(world, config.seed, split, indices, f"refshapes-{name}", folder)

    wanted = config.data.benchmark_queries
    return _World(
        {f"refshapes/{split}": scenes(split, range(wanted[split]), split) for split in _SPLITS if wanted.get(split)},
        scenes("train", range(config.data.train_images), "sft", shapes.sft_expressions),
        scenes("train", range(_RL_OFFSET, _RL_OFFSET + config.data.rl_images), "rl", shapes.rl_expressions),
        queries_per_image=1,
    )


def _coco(config: Config, ingested: Path, folder: Path) -> _World:
    rows = (row for path in shard_tables(ingested) for row in read_rows(path, INGEST))
    images = [row for row in rows if row["status"] == "ok" and row["annotations"]]
    test = [row for row in images if is_held_out(row["image"], config.seed, config.data.coco.holdout)]
    held_out = {row["image"] for row in test}
    train = [row for row in images if row["image"] not in held_out]
    if not train or not test:
        raise ValueError(
            f"data.coco: {len(train)} images to train on and {len(test)} held out: raise data.coco.max_images, "
            "or change data.coco.holdout or seed"
        )
    return _World(
        {"coco/val": annotated_views(test, config.contour)},
        annotated_views(train, config.contour),
        annotated_views(train, config.contour),
    )


_OPEN: Mapping[str, Callable[[Config, Path, Path], _World]] = {"refshapes": _refshapes, "coco": _coco}


def _referring(
    config: Config, sets: Sequence[tuple[ReferringConfig, ReferringSet]], folder: Path, progress: Progress
) -> _World:
    """All referring sets as one: their images are packed once, however many sets ask about them."""
    everything = [image for _, found in sets for images in found.splits.values() for image in images]
    progress.start(len({image.key for image in everything}), "images")
    packed = pack_pictures(everything, folder, progress.advance)
    benchmarks: dict[str, Views] = {}
    held_out: dict[str, Views] = {}
    for settings, found in sets:
        for split, images in found.splits.items():
            if split != _TRAIN:
                wanted = settings.benchmarks is None or split in settings.benchmarks
                target = benchmarks if wanted else held_out
                target[f"{found.name}/{split}"] = referring_views(images, found.name, packed)
    trained = [found for _, found in sets if config.dataset.source_weights.get(found.name, 1.0) > 0]
    return _World(
        benchmarks,
        chain.from_iterable(
            referring_views(found.splits.get(_TRAIN, ()), found.name, packed, config.contour) for found in trained
        ),
        _lots(trained, config.seed, packed),
        held_out=held_out,
    )


def _lots(sets: Sequence[ReferringSet], seed: int, packed: Mapping[str, Packed]) -> Iterator[ViewedImage]:
    """The training images of all sets in random order."""
    images = [(found.name, image) for found in sets for image in found.splits.get(_TRAIN, ())]
    for name, image in sorted(images, key=lambda each: sha256(f"{seed}:{each[0]}:{each[1].key}".encode()).digest()):
        yield from referring_views([image], name, packed)


def _write(name: str, rows: Iterable[Row], folder: Path) -> None:
    if "/" in name:
        write_table(rows, PROMPTS, folder / "benchmarks" / f"{name.replace('/', '-')}.parquet")
    else:
        write_table(rows, PROMPTS if name == "rl" else CONVERSATIONS, folder / f"{name}.parquet")


def _result(
    composition: Composition, leakage: LeakageFilter, counter: TokenCounter, config: Config, folder: Path
) -> StageResult:
    table, leaks, limit = composition.table(), leakage.rows(), config.dataset.max_answer_tokens
    lengths: dict[str, Mapping[int, int]] = {name: composition.lengths.get(name, {}) for name in ("pretrain", "sft")}
    tokens = {name: length_statistics(found, limit) for name, found in lengths.items()}
    histogram, leaked = length_histogram(lengths), dict(sorted(leakage.found.items()))
    summary = {"composition": table, "leakage": leaks, "leaked_images": leaked, "tokenizer": counter.name}
    summary |= {"answer_tokens": tokens, "answer_lengths": histogram}
    settings = {"seed": config.seed, **config.dataset.model_dump(mode="json")}
    write_json(folder / "composition.json", summary | {"settings": settings})
    for title, rows in (("composition", table), ("leakage", leaks), (f"answers by {counter.name}", histogram)):
        _log.info("%s\n%s", title, _as_text(rows))
    metrics = {f"{name.replace('/', '_')}_rows": float(count) for name, count in composition.rows.items()}
    metrics |= {"leaked_images": float(sum(leaked.values())), "sft_answer_tokens": tokens["sft"]["mean"]}
    return StageResult(metrics=metrics, tables={"composition": table, "leakage": leaks, "answer_lengths": histogram})


def _as_text(rows: Sequence[Mapping[str, object]]) -> str:
    """A table in aligned columns; `none` without rows."""
    if not rows:
        return "none"
    cells = [[str(name) for name in rows[0]], *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells)
