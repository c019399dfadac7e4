"""The stage that turns predictions into numbers with intervals and into the page that people look at."""

from pathlib import Path

from simpleseg_core.commit import commit_of
from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.files import write_json, write_text
from simpleseg_core.report import (
    Facts,
    differences_json,
    metrics_json,
    read_results,
    read_sources,
    render_page,
)
from simpleseg_core.report.sources import Sources, today
from tasks.graph import STAGES

_STEPS = 3


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Write `metrics`, `differences` (JSON) and `report` (HTML).

    Curves and stage metrics are looked for beside the page (`curves/`, `metrics/`), counts in the inputs.

    Raises:
        FileNotFoundError: no predictions.
    """
    context.progress.start(_STEPS, "report")
    results = read_results(inputs["predictions"], config)
    context.progress.advance()
    write_json(outputs["metrics"], metrics_json(results))
    write_json(outputs["differences"], differences_json(results))
    context.progress.advance()
    facts = Facts(config.profile, config.seed, config.data.source, today(), str(commit_of(Path.cwd()) or ""))
    sources = _sources(inputs, outputs["report"].parent)
    page = render_page(results, sources, facts, config, ImageStore(inputs["dataset"].parent))
    write_text(outputs["report"], page)
    context.progress.advance()
    headline = {
        f"{model}/{benchmark}/{name}": interval.mean
        for benchmark, models in results.summaries.items()
        for model, summary in models.items()
        for name, interval in summary.items()
    }
    return StageResult(metrics=headline)


def _sources(inputs: Inputs, reports: Path) -> Sources:
    """What the stages before have left for people."""
    made = {role: spec.summary for spec in STAGES.values() if spec.summary for role in spec.outputs}
    return read_sources(
        {name: reports / "curves" / f"{name}.csv" for name, spec in STAGES.items() if spec.trains},
        {name: reports / "metrics" / f"{name}.json" for name in sorted(STAGES)},
        {role: inputs[role] / summary for role, summary in made.items()},
    )
