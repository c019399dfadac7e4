"""What pre-training and SFT share: from configuration and tables to a training run, or to the model passed on."""

import json
from math import ceil
from pathlib import Path
from shutil import copytree, rmtree

from simpleseg_core.config import Config, TrainConfig
from simpleseg_core.data.records import PROMPTS, read_rows
from simpleseg_core.stages._base import Context, Inputs, StageResult
from simpleseg_core.training.checkpoint import fingerprint
from simpleseg_core.training.launch import launch
from simpleseg_core.training.probe import GenerationProbe
from simpleseg_core.training.samples import ConversationTable, Samples, SceneStream
from simpleseg_core.training.supervised import SupervisedRun

_PROBES = 4


def run_training(
    name: str, train: TrainConfig, start: str, config: Config, inputs: Inputs, output: Path, context: Context
) -> StageResult:
    """Train the model of `start` on the stage's table (or curriculum) and write an HF checkpoint to `output`."""
    start = _starting_point(start)
    if not train.enabled:
        return _pass_on(start, output)
    table = inputs["dataset"] / f"{name}.parquet"
    samples, steps = _samples(table, train, config, inputs["images"].parent)
    sources = [table] if not train.curriculum else [config.data.refshapes, config.dataset, config.contour]
    mark = fingerprint(
        train, config.model, config.seed, steps, *sources, Path(start) if Path(start).is_dir() else start
    )
    probe = GenerationProbe(_probe_prompts(inputs["dataset"]), inputs["images"].parent.absolute())
    run = SupervisedRun(
        name, config.seed, steps, train, config.model, start, samples, output, context.work, mark, probe
    )
    launch(run, config, context)
    return StageResult(metrics={"steps": steps, **_last_metrics(context.work / "events.jsonl")})


def _starting_point(start: str) -> str:
    """A local folder as an absolute path, for workers run elsewhere; a hub id or `scratch` as it is."""
    if Path(start).is_dir():
        return str(Path(start).absolute())
    if start != "scratch" and (start.count("/") != 1 or Path(start).parent.is_dir()):
        raise FileNotFoundError(
            f"no model in {start}: `model.base` is a local folder, a hub id (Qwen/Qwen2.5-VL-3B-Instruct), or `scratch`"
        )
    return start


def _samples(table: Path, train: TrainConfig, config: Config, images: Path) -> tuple[Samples, int]:
    """The conversations to learn from, and the number of optimizer steps."""
    if train.curriculum and train.steps:
        total = train.steps * train.batch_size
        return SceneStream(
            config.data.refshapes, train.curriculum, config.dataset, config.contour, total, config.seed
        ), train.steps
    conversations = ConversationTable(table.absolute(), images.absolute(), config.seed)
    return conversations, train.steps or ceil(train.epochs * len(conversations) / train.batch_size)


def _probe_prompts(dataset: Path) -> list[dict[str, object]]:
    """A few benchmark queries of different kinds, the same in every run."""
    for table in sorted(dataset.glob("benchmarks/*val.parquet")):
        rows = read_rows(table, PROMPTS)
        return rows[:: max(1, len(rows) // _PROBES)][:_PROBES]
    return []


def _pass_on(start: str, output: Path) -> StageResult:
    """A disabled stage hands its input model on."""
    if not Path(start).is_dir():
        raise ValueError(
            f"{start}: a disabled training stage can only pass on a local folder: download the model, or enable it"
        )
    rmtree(output, ignore_errors=True)
    copytree(start, output)
    return StageResult(metrics={"steps": 0})


def _last_metrics(events: Path) -> dict[str, float]:
    """Losses of the last logged step."""
    logged = [event["metrics"] for event in map(json.loads, events.read_text().splitlines()) if event.get("metrics")]
    return {name: value for name, value in logged[-1].items() if name.startswith("loss")} if logged else {}
