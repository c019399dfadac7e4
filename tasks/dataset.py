"""The stage that makes datasets: pre-training from our annotations; SFT, RL and benchmarks from gold masks."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.config.data import Source as SourceName
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.records import CONVERSATIONS, PROMPTS, write_table
from simpleseg_core.files import write_json
from simpleseg_core.instructions.compose import (
    Composition,
    Row,
    length_histogram,
    length_statistics,
    pretrain_rows,
    prompt_rows,
    sft_rows,
)
from simpleseg_core.instructions.leakage import LeakageFilter
from simpleseg_core.instructions.tokens import TokenCounter, answer_counter
from simpleseg_core.names import did_you_mean
from simpleseg_core.sources import Gold, Images, source
from simpleseg_core.sources.annotations import annotation_images
from simpleseg_core.sources.referring import read_referring, referring_gold

_USUAL: SourceName = "refshapes"
"""Gives gold masks where `data.source` has none: it needs nothing that `ingest` brought in."""
_log = logging.getLogger(__name__)


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `dataset` with the tables, the images of scenes and referring sets, and `composition.json`."""
    names = _sources(config)
    sets = [(each, read_referring(each)) for each in config.data.referring]
    counter = answer_counter(config.model)
    annotations = annotation_images(inputs["descriptions"], inputs["images"])
    opened = [gold(config, inputs["images"], outputs["dataset"]) for name in names if (gold := source(name).gold)]
    if sets:
        opened.append(referring_gold(config, sets, outputs["dataset"], context.progress))
    leakage = LeakageFilter(drop=config.dataset.leakage_filter)
    composition = Composition(counter.count)
    context.progress.start(sum(len(each.benchmarks) for each in opened) + 3, "tables")
    for name, rows in _tables(opened, annotations, leakage, counter, config):
        _write(name, composition.watch(name, rows), outputs["dataset"])
        if not composition.rows[name]:
            _log.warning("%s is empty: loosen the filters of `contour`, or raise the sizes under `data`", name)
        context.progress.advance()
    return _result(composition, leakage, counter, config, outputs["dataset"])


def _sources(config: Config) -> list[SourceName]:
    """The sources of gold masks in use, beside the sets of `data.referring`.

    Raises:
        ValueError: `dataset.source_weights` names a source that there is none of.
    """
    weights, data = config.dataset.source_weights, config.data
    sets = [each.name for each in data.referring]
    own = data.source if source(data.source).gold else _USUAL
    known = {*sets, _USUAL, own, "annotations"}
    if unknown := sorted(set(weights) - known):
        raise ValueError(
            f"dataset.source_weights names {', '.join(unknown)}{did_you_mean(unknown[0], known)}: the sources are "
            f"{', '.join(sorted(known))}; add the set to data.referring, or leave the weight out"
        )
    return [name for name in dict.fromkeys((_USUAL, own)) if weights.get(name, 0) > 0] if sets else [own]


def _tables(
    opened: Sequence[Gold], annotations: Images, leakage: LeakageFilter, counter: TokenCounter, config: Config
) -> Iterator[tuple[str, Iterable[Row]]]:
    """Names and rows of all tables: every split that training must not show comes before the first training table."""
    for gold in opened:
        for split, images in gold.held_out.items():
            for _ in leakage.remember(images, split):
                pass
        for name, images in gold.benchmarks.items():
            seen = leakage.remember(images, name)
            yield name, prompt_rows(seen, config, benchmark=name, per_image=gold.queries_per_image)
    sft = chain.from_iterable(gold.sft for gold in opened)
    rl = [prompt_rows(islice(leakage.keep(gold.rl), config.data.rl_images), config) for gold in opened]
    yield "pretrain", pretrain_rows(leakage.keep(annotations), config, counter.count)
    yield "sft", sft_rows(leakage.keep(sft), config, counter.count)
    yield "rl", chain.from_iterable(rl)


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
