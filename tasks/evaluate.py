"""The stage that asks every model every benchmark query, greedily, and keeps each answer with its score."""

from collections.abc import Sequence
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.records import PREDICTIONS, PROMPTS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation import summarise
from simpleseg_core.evaluation.benchmark_runs import BenchmarkRun, answer_benchmark, answering, drop_others, plan_runs
from simpleseg_core.evaluation.engines import SharedEngine, own_model
from simpleseg_core.fingerprint import fingerprint
from simpleseg_core.metrics import METRICS, Predictions


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Write MODEL/BENCHMARK.parquet (PREDICTIONS) and a contact sheet beside it; what is up to date is kept.

    Raises:
        FileNotFoundError: no benchmark, or a model folder without weights.
        ValueError: a prompt leaves no room for its answer, or a file of answers is damaged.
        ConnectionError: a server that is to answer does not.
    """
    runs = plan_runs(config, inputs, outputs["predictions"], context.work)
    drop_others(outputs["predictions"], runs)
    pending = [each for each in runs if not each.done]
    for weights in dict.fromkeys(each.weights for each in pending if each.weights is not None):
        _check_lengths([each for each in pending if each.weights == weights], weights, config, context)
    images = ImageStore(inputs["images"].parent)
    context.progress.start(sum(each.queries for each in runs), "evaluate")
    with SharedEngine(config) as engines:
        for each in runs:
            if each.done:
                context.progress.advance(each.queries)
            else:
                answer_benchmark(each, answering(each, engines, images, config), images, config, context.progress)
    return _result(runs, config)


def _check_lengths(runs: Sequence[BenchmarkRun], weights: Path, config: Config, context: Context) -> None:
    """See that every prompt of one model's runs leaves room for its answer, as the model's own processor counts.

    Raises:
        ValueError: the longest does not.
    """
    from simpleseg_core.training.lengths import longest

    model, settings = own_model(config.model, weights), config.evaluate
    if model is None:  # nobody knows how its processor is bounded
        return
    prompts = [row for each in runs for row in read_rows(each.benchmark, PROMPTS)]
    state = context.work / runs[0].model / "lengths.json"
    found = longest(prompts, str(weights), model, state, fingerprint(runs=[each.fingerprint for each in runs]))
    if found + settings.max_tokens > settings.max_length:
        raise ValueError(
            f"evaluate.max_length {settings.max_length}: the longest prompt of {runs[0].model} has {found} tokens and "
            f"its answer may have {settings.max_tokens} (max_tokens): raise the one to {found + settings.max_tokens}, "
            "or lower the other"
        )


def _result(runs: Sequence[BenchmarkRun], config: Config) -> StageResult:
    metrics: dict[str, float] = {}
    table: list[dict[str, object]] = []
    for each in runs:
        rows = read_rows(each.output, PREDICTIONS)
        found = summarise(Predictions.from_rows(rows), samples=config.evaluate.bootstrap_samples, seed=config.seed)
        metrics |= {f"{each.model}/{each.benchmark.stem}/{name}": interval.mean for name, interval in found.items()}
        cells = {METRICS[name].label: round(interval.mean, 2) for name, interval in found.items()}
        table.append({"model": each.model, "benchmark": rows[0]["benchmark"], "queries": each.queries, **cells})
    sheets = {f"predictions/{each.model}/{each.benchmark.stem}": each.sheet for each in runs}
    return StageResult(metrics=metrics, tables={"evaluation": table}, images=sheets)
