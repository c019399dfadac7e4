"""The stage that turns predictions into numbers with intervals and into the page that people look at."""

from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.files import write_json, write_text
from simpleseg_core.report import (
    Facts,
    differences_json,
    git_facts,
    metrics_json,
    read_results,
    read_sources,
    render_page,
)
from simpleseg_core.report.sources import today
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult

_STEPS = 3


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Write `metrics`, `differences` (JSON) and `report` (HTML).

    Curves and stage metrics are looked for beside the page (`curves/`, `metrics/`), counts beside the dataset.

    Raises:
        FileNotFoundError: no predictions.
    """
    context.progress.start(_STEPS, "report")
    results = read_results(inputs["predictions"], config)
    context.progress.advance()
    write_json(outputs["metrics"], metrics_json(results))
    write_json(outputs["differences"], differences_json(results))
    context.progress.advance()
    data, reports = inputs["dataset"].parent, outputs["report"].parent
    facts = Facts(config.profile, config.seed, config.data.source, today(), git_facts(Path.cwd()))
    page = render_page(results, read_sources(data, reports), facts, config, ImageStore(data))
    write_text(outputs["report"], page)
    context.progress.advance()
    headline = {
        f"{model}/{benchmark}/{name}": interval.mean
        for benchmark, models in results.summaries.items()
        for model, summary in models.items()
        for name, interval in summary.items()
    }
    return StageResult(metrics=headline)
