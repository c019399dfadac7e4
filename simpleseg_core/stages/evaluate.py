"""The stage that asks every model every benchmark query, greedily, and keeps each answer with its score."""

from collections.abc import Sequence

from simpleseg_core.config import Config
from simpleseg_core.data.records import PREDICTIONS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.evaluation import METRICS, Outcomes, summarise
from simpleseg_core.evaluation.engines import EnginePool
from simpleseg_core.evaluation.jobs import Job, drop_others, plan_jobs, run_job
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Write MODEL/BENCHMARK.parquet (PREDICTIONS) and a contact sheet beside it; what is up to date is kept.

    Raises:
        FileNotFoundError: no benchmark, or a model folder without weights.
    """
    jobs = plan_jobs(config, inputs, outputs["predictions"], context.work)
    drop_others(outputs["predictions"], jobs)
    images = ImageStore(inputs["images"].parent)
    context.progress.start(sum(job.queries for job in jobs), "evaluate")
    with EnginePool(config) as engines:
        for job in jobs:
            if job.done:
                context.progress.advance(job.queries)
            else:
                run_job(job, engines.of(job.weights), images, config, context.progress)
    return _result(jobs, config)


def _result(jobs: Sequence[Job], config: Config) -> StageResult:
    metrics: dict[str, float] = {}
    table: list[dict[str, object]] = []
    for job in jobs:
        rows = read_rows(job.output, PREDICTIONS)
        found = summarise(Outcomes.from_rows(rows), samples=config.evaluate.bootstrap_samples, seed=config.seed)
        metrics |= {f"{job.model}/{job.benchmark.stem}/{name}": interval.mean for name, interval in found.items()}
        cells = {METRICS[name].label: round(interval.mean, 2) for name, interval in found.items()}
        table.append({"model": job.model, "benchmark": rows[0]["benchmark"], "queries": job.queries, **cells})
    sheets = {f"predictions/{job.model}/{job.benchmark.stem}": job.sheet for job in jobs}
    return StageResult(metrics=metrics, tables={"evaluation": table}, images=sheets)
