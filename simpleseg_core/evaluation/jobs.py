"""One model on one benchmark: what has to be done, what is done already, and doing it."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.data.records import PREDICTIONS, PROMPTS, read_rows, write_table
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation.answers import answer_prompts
from simpleseg_core.evaluation.samples import extremes, prediction_probe
from simpleseg_core.grammar import answer_regex
from simpleseg_core.rollout import Rollout, Sampling
from simpleseg_core.stages import Inputs, Progress
from simpleseg_core.training.checkpoint import fingerprint
from simpleseg_core.viz import probe_sheet

_log = logging.getLogger(__name__)
_PRESENTATION = {"bootstrap_samples", "overlays", "models"}
"""Keys of the section that change no answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """One model on one benchmark."""

    model: str
    weights: Path
    """Checkpoint folder."""
    benchmark: Path
    """Parquet of PROMPTS."""
    queries: int
    output: Path
    """Parquet of PREDICTIONS."""
    marker: Path
    fingerprint: str
    """Of weights, queries and settings; the marker holds it when the job is done."""

    @property
    def sheet(self) -> Path:
        """Contact sheet of the best, middling and worst predictions."""
        return self.output.with_suffix(".png")

    @property
    def done(self) -> bool:
        """Whether everything is written, from these very inputs."""
        written = self.output.is_file() and self.sheet.is_file() and self.marker.is_file()
        return written and self.marker.read_text() == self.fingerprint


def plan_jobs(config: Config, inputs: Inputs, output: Path, work: Path) -> list[Job]:
    """Every configured model on every benchmark of the dataset, `val` first.

    Raises:
        FileNotFoundError: no benchmark query, or a model folder without weights.
    """
    folder = inputs["dataset"] / "benchmarks"
    files = sorted(folder.glob("*.parquet"), key=lambda file: (not file.stem.endswith("val"), file.stem))
    queries = {file: count for file in files if (count := len(read_rows(file, PROMPTS)))}
    if not queries:
        raise FileNotFoundError(f"{folder}: no benchmark query here; run `simpleseg stage dataset` again")
    asked = config.evaluate.model_dump(mode="json", exclude=_PRESENTATION)
    if config.evaluate.constrained:
        asked["style"] = config.dataset.style
    settings = json.dumps(asked, sort_keys=True)
    jobs = []
    for model in config.evaluate.models:
        weights = _checked(inputs[model])
        identity = fingerprint(settings, config.model, weights)
        for file, count in queries.items():
            target, marker = output / model / file.name, work / model / f"{file.stem}.done"
            jobs.append(Job(model, weights, file, count, target, marker, fingerprint(identity, file)))
    return jobs


def drop_others(folder: Path, jobs: Sequence[Job]) -> None:
    """Remove predictions of models and benchmarks that are no longer asked for: the folder outlives runs."""
    wanted = {path for job in jobs for path in (job.output, job.sheet)}
    for file in sorted(folder.glob("*/*")):
        if file not in wanted and file.suffix in (".parquet", ".png"):
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()


def run_job(job: Job, engine: Rollout, images: ImageStore, config: Config, progress: Progress) -> None:
    """Answer and score every query, draw the contact sheet, then mark the job as done."""
    settings = config.evaluate
    regex = answer_regex("text->mask", config.dataset.style) if settings.constrained else None
    rows = answer_prompts(
        engine,
        job.model,
        read_rows(job.benchmark, PROMPTS),
        images,
        Sampling(max_tokens=settings.max_tokens, regex=regex),
        chunk=4 * settings.max_num_seqs,
        advance=progress.advance,
    )
    write_table(rows, PREDICTIONS, job.output)
    shown = [row for group in extremes(rows, settings.overlays).values() for row in group] or rows[: settings.overlays]
    Image.fromarray(probe_sheet([prediction_probe(row, images) for row in shown])).save(job.sheet)
    job.marker.parent.mkdir(parents=True, exist_ok=True)
    job.marker.write_text(job.fingerprint)
    giou = sum(row["iou"] for row in rows) / len(rows)
    _log.info("%s on %s: gIoU %.1f over %d queries", job.model, rows[0]["benchmark"], 100 * giou, len(rows))


def _checked(folder: Path) -> Path:
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"{folder}: no weights (*.safetensors) here; run the stage that trains this model again"
        )
    return folder
