"""One model on one benchmark: what has to be done, what is done already, and doing it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.config.evaluation import ModelUnderTest
from simpleseg_core.contract import Inputs, Progress
from simpleseg_core.data.records import PREDICTIONS, PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation.answer_files import FileAnswers
from simpleseg_core.evaluation.answers import Answering, EngineAnswers, answer_prompts
from simpleseg_core.evaluation.endpoint import EndpointAnswers
from simpleseg_core.evaluation.engines import SharedEngine
from simpleseg_core.evaluation.models import model_folder
from simpleseg_core.evaluation.samples import extremes, prediction_probe
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.grammar import answer_regex
from simpleseg_core.rollout import Sampling
from simpleseg_core.viz import probe_sheet

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """One model on one benchmark."""

    model: str
    under_test: ModelUnderTest
    weights: Path | None
    """Checkpoint folder; None where a server or a file answers."""
    benchmark: Path
    """Parquet of PROMPTS."""
    queries: int
    output: Path
    """Parquet of PREDICTIONS."""
    marker: Path
    fingerprint: str
    """Of weights, queries and settings; the marker holds it when the run is done."""

    @property
    def sheet(self) -> Path:
        """Contact sheet of the best, middling and worst predictions."""
        return self.output.with_suffix(".png")

    @property
    def done(self) -> bool:
        """Whether everything is written, from these very inputs."""
        written = self.output.is_file() and self.sheet.is_file() and self.marker.is_file()
        return written and self.marker.read_text() == self.fingerprint


def plan_runs(config: Config, inputs: Inputs, output: Path, work: Path) -> list[BenchmarkRun]:
    """Every configured model on every benchmark of the dataset, `val` first.

    Raises:
        FileNotFoundError: no benchmark query, or a model folder without weights.
    """
    folder = inputs["dataset"] / "benchmarks"
    files = sorted(folder.glob("*.parquet"), key=lambda file: (not file.stem.endswith("val"), file.stem))
    queries = {file: count for file in files if (count := len(read_rows(file, PROMPTS)))}
    if not queries:
        raise FileNotFoundError(f"{folder}: no benchmark query here; run `simpleseg stage dataset` again")
    runs = []
    for model in config.evaluate.models:
        weights = model_folder(model, inputs) if model.has_weights else None
        engine = fingerprint(
            evaluate=config.evaluate, style=config.dataset.style, **_what_answers(model, weights, config)
        )
        for file, count in queries.items():
            target, marker = output / model.name / file.name, work / model.name / f"{file.stem}.done"
            runs.append(
                BenchmarkRun(
                    model.name, model, weights, file, count, target, marker, fingerprint(engine=engine, benchmark=file)
                )
            )
    return runs


def _what_answers(model: ModelUnderTest, weights: Path | None, config: Config) -> dict[str, Any]:
    """All that decides a model's answers to a prompt."""
    if weights is not None:
        return {"model": config.model, "weights": weights}
    file = {"file": Path(model.where).expanduser()} if model.kind == "file" else {}
    return {"where": model.where, "served": model.served, "style": model.style} | file


def drop_others(folder: Path, runs: Sequence[BenchmarkRun]) -> None:
    """Remove predictions of models and benchmarks that are no longer asked for: the folder outlives runs."""
    wanted = {path for run in runs for path in (run.output, run.sheet)}
    for file in sorted(folder.glob("*/*")):
        if file not in wanted and file.suffix in (".parquet", ".png"):
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()


def answering(run: BenchmarkRun, engines: SharedEngine, images: ImageStore, config: Config) -> Answering:
    """Who answers the queries of a run.

    Raises:
        FileNotFoundError, ValueError: a file with answers is not there, or damaged.
    """
    settings = config.evaluate
    if run.weights is not None:
        regex = answer_regex("text->mask", config.dataset.style) if settings.constrained else None
        sampling = Sampling(max_tokens=settings.max_tokens, regex=regex)
        return EngineAnswers(engines.of(run.weights), images, sampling)
    if run.under_test.kind == "file":
        return FileAnswers(Path(run.under_test.where).expanduser(), run.under_test.style)
    return EndpointAnswers(run.under_test, images, settings.max_tokens, settings.max_num_seqs)


def answer_benchmark(
    run: BenchmarkRun, answers: Answering, images: ImageStore, config: Config, progress: Progress
) -> None:
    """Ask and score every query, draw the contact sheet, then mark the run as done."""
    settings = config.evaluate
    rows = answer_prompts(
        answers,
        run.model,
        read_rows(run.benchmark, PROMPTS),
        style=config.dataset.style,
        chunk=4 * settings.max_num_seqs,
        advance=progress.advance,
    )
    write_table(rows, PREDICTIONS, run.output)
    shown = [row for group in extremes(rows, settings.overlays).values() for row in group] or rows[: settings.overlays]
    Image.fromarray(probe_sheet([prediction_probe(row, images, config.dataset.style) for row in shown])).save(run.sheet)
    run.marker.parent.mkdir(parents=True, exist_ok=True)
    run.marker.write_text(run.fingerprint)
    giou = sum(row["iou"] for row in rows) / len(rows)
    _log.info("%s on %s: gIoU %.1f over %d queries", run.model, rows[0]["benchmark"], 100 * giou, len(rows))
