"""What pre-training and SFT share: from configuration and tables to a training run, or to the model passed on."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from shutil import copytree, rmtree

from simpleseg_core.config import Config, Section, TrainConfig
from simpleseg_core.contract import Context, Inputs, StageResult
from simpleseg_core.fingerprint import fingerprint, weights
from simpleseg_core.journal import Journal
from simpleseg_core.training.launch import launch
from simpleseg_core.training.probe import GenerationProbe, probe_queries
from simpleseg_core.training.run import HeldOut, SupervisedRun
from simpleseg_core.training.samples import ConversationTable, Samples, SceneStream

_PROBES = 4


def run_training(
    name: str, train: TrainConfig, start: str, config: Config, inputs: Inputs, output: Path, context: Context
) -> StageResult:
    """Train the model of `start` on the stage's table (or curriculum) and write an HF checkpoint to `output`."""
    start = _starting_point(start)
    if not train.enabled:
        return _pass_on(start, output)
    table = inputs["dataset"] / f"{name}.parquet"
    samples, steps = _samples(table, train, config, inputs["images"].parent, context.work.absolute())
    mark = _mark(train, start, config, steps, table)
    if isinstance(samples, ConversationTable):
        _check_lengths(name, train, samples, start, config, context)
    pictures = inputs["images"].parent.absolute()
    probe = GenerationProbe(
        probe_queries(inputs["dataset"], _PROBES), pictures, name=f"{name} answers", style=config.dataset.style
    )
    held_out = _held_out(train, inputs["dataset"], pictures, config)
    run = SupervisedRun(
        name, config.seed, steps, train, config.model, start, samples, output, context.work, mark, probe, held_out
    )
    launch(run, config, context)
    return StageResult(metrics={"steps": steps, **_last_losses(context.journal)})


def _check_lengths(
    name: str, train: TrainConfig, samples: ConversationTable, start: str, config: Config, context: Context
) -> None:
    """See that every conversation fits, as the model's own processor counts.

    Raises:
        ValueError: the longest does not.
    """
    if start == "scratch":
        return
    from simpleseg_core.training.lengths import longest

    mark = fingerprint(table=samples.table, model=config.model, start=weights(start))
    found = longest(samples.rows, start, config.model, context.work / "lengths.json", mark)
    if found > train.max_length:
        raise ValueError(
            f"{name}.max_length {train.max_length}: the longest conversation has {found} tokens: raise it to {found}, "
            "or lower dataset.max_turns or contour.max_points"
        )


def _mark(train: TrainConfig, start: str, config: Config, steps: int, table: Path) -> str:
    """What a checkpoint depends on."""
    scenes = {"scenes": config.data.refshapes, "dataset": config.dataset, "contour": config.contour}
    sources: Mapping[str, Section | Path] = scenes if train.curriculum else {"table": table}
    return fingerprint(train=train, model=config.model, seed=config.seed, steps=steps, start=weights(start), **sources)


def _starting_point(start: str) -> str:
    """A local folder as an absolute path, for workers run elsewhere; a hub id or `scratch` as it is."""
    if Path(start).is_dir():
        return str(Path(start).absolute())
    if start != "scratch" and (start.count("/") != 1 or Path(start).parent.is_dir()):
        raise FileNotFoundError(
            f"no model in {start}: `model.base` is a local folder, a hub id (OWNER/NAME), or `scratch`"
        )
    return start


def _samples(table: Path, train: TrainConfig, config: Config, images: Path, work: Path) -> tuple[Samples, int]:
    """The conversations to learn from, and the number of optimizer steps."""
    if train.curriculum and train.steps:
        total = train.steps * train.batch_size
        return SceneStream(
            config.data.refshapes, train.curriculum, config.dataset, config.contour, total, config.seed
        ), train.steps
    conversations = ConversationTable(
        table.absolute(), images.absolute(), config.seed, work, _held_conversations(train)
    )
    return conversations, train.steps or ceil(train.epochs * len(conversations) / train.batch_size)


def _held_conversations(train: TrainConfig) -> int:
    return train.held_out.conversations if train.held_out else 0


def _held_out(train: TrainConfig, dataset: Path, images: Path, config: Config) -> HeldOut | None:
    if train.held_out is None:
        return None
    queries = probe_queries(dataset, train.held_out.queries)
    return HeldOut(_held_conversations(train), queries, images, config.evaluate.max_tokens, config.dataset.style)


def _pass_on(start: str, output: Path) -> StageResult:
    """A disabled stage hands its input model on."""
    if not Path(start).is_dir():
        raise ValueError(
            f"{start}: a disabled training stage can only pass on a local folder: download the model, or enable it"
        )
    rmtree(output, ignore_errors=True)
    copytree(start, output)
    return StageResult(metrics={"steps": 0})


def _last_losses(journal: Journal) -> dict[str, float]:
    """The last of each loss, and of what is measured on what is held out."""
    logged = [event["metrics"] for _, event in journal.read(limit=None) if event.get("metrics")]
    return {name: value for point in logged for name, value in point.items() if name.startswith(("loss", "held_out"))}
