"""The pipeline flow: brings the stages of dvc.yaml that are out of date up to date, one Prefect task each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field

from flows import markdown
from flows.display import display
from flows.params import edit_params
from flows.servers import running_servers
from flows.tables import benchmark_rows, funnel_plot, funnel_rows, headline_metrics
from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from simpleseg_core.family import found_family
from simpleseg_core.plain import clean_logs
from tasks.checks import check_inputs
from tasks.graph import StageName
from tasks.hub import check_models
from tasks.runs.data_version import Graph, Outcome, cure_stale_locks, read_graph
from tasks.runs.freshness import Freshness, freshness, stale_results
from tasks.runs.kept import anything_kept
from tasks.runs.lineage import locked_hashes, run_name
from tasks.runs.lock import alone
from tasks.runs.reproduce import StageOutcome, bring_up_to_date, show_as_cached, worth_retrying
from tasks.runs.workspace import Workspace

_NETWORK_STAGES = frozenset({"ingest"})


class PipelineParams(BaseModel):
    """What to run."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    until: StageName | None = None
    """Last stage; everything it needs is brought up to date first."""
    from_stage: StageName | None = None
    """First stage; what comes before is taken as it is."""
    overrides: list[str] = Field(default_factory=list)
    """`key=value` changes of params.yaml, such as `contour.tolerance=0.01`; they stay in the file."""
    force: bool = False
    """Run the chosen stages from nothing, even if they are up to date: finished parts are made again."""
    again: bool = False
    """Run the chosen stages even if they are up to date; finished parts are kept."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What became of the run."""

    stages: tuple[StageOutcome, ...]
    mlflow_run: str | None
    """Id of the parent run; None where nothing had to run."""
    stale: tuple[str, ...] = ()
    """Why the scores that lie in the working copy are not those of this configuration."""


def _flow_run_name() -> str:
    """As the run is called in MLflow, with the stages that it is about."""
    params: PipelineParams = flow_run.parameters.get("params") or PipelineParams()
    reach = " to ".join(name for name in (params.from_stage, params.until) if name)
    try:
        name = run_name(load_config(Workspace.find().params, params.overrides))
    except ValueError:  # the flow says what is wrong
        name = "pipeline"
    return f"{name} ({reach})" if reach else name


@flow(name="pipeline", flow_run_name=_flow_run_name, log_prints=False, persist_result=False)
def pipeline(params: PipelineParams = PipelineParams()) -> PipelineResult:  # noqa: B008 (the default is immutable in use)
    """Bring the pipeline of this working copy up to date.

    Raises:
        ConfigError: params.yaml or an override cannot be used.
        StageFailedError: a stage failed; what was done before it stays done.
        BusyError: another run is going on here.
    """
    clean_logs()
    workspace = Workspace.find()
    found_family()
    logger = get_run_logger()
    with alone(workspace.run_lock, "a pipeline"):
        for change in edit_params(workspace, params.overrides):
            logger.info("params.yaml: %s", change)
        config = load_config(workspace.params)
        for cured in cure_stale_locks(workspace):
            logger.warning("removed %s", cured)
        graph = read_graph(workspace)
        chosen = tuple(graph.between(params.from_stage, params.until))
        check_inputs(config, chosen)
        _check_earlier_outputs(workspace, graph, chosen)
        plan = _Plan(workspace, config, graph, chosen, freshness(workspace, config, graph), params.again, params.force)
        if not plan.work:
            _send_kept(plan)
            cached = tuple(_cached(name) for name in chosen)
            return _report(plan, PipelineResult(cached, None, _stale(plan, plan.stale)))
        check_models(config, plan.work)
        return _run(plan)


def _send_kept(plan: "_Plan") -> None:
    if anything_kept(plan.workspace):
        from tasks.runs.tracking import send_kept

        send_kept(plan.workspace, plan.config)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked for, and what is out of date before it begins."""

    workspace: Workspace
    config: Config
    graph: Graph
    chosen: tuple[str, ...]
    stale: Freshness
    again: bool
    anew: bool

    @property
    def work(self) -> list[str]:
        """Stages that run in any case."""
        return [name for name in self.chosen if self.again or self.anew or name in self.stale.reasons]


def _check_earlier_outputs(workspace: Workspace, graph: Graph, chosen: Sequence[str]) -> None:
    """What the first stages of a range read is there already."""
    for name in chosen:
        for maker in graph.upstream[name]:
            missing = [path for path in graph.reads(name, maker) if not (workspace.root / path).exists()]
            if maker not in chosen and missing:
                raise ValueError(
                    f"{name} reads {missing[0]}, which is missing: `simpleseg run --until {maker}` makes it, "
                    f"or start from {maker}"
                )


def _run(plan: _Plan) -> PipelineResult:
    from tasks.runs.tracking import FLOW_RUN_VARIABLE, PARENT_VARIABLE, Scores, pipeline_run

    flow_run_id = str(flow_run.id or "")
    ended: list[StageOutcome] = []
    stale: tuple[str, ...] = ()

    def scores() -> Scores:
        return Scores(stale=stale) if stale else Scores(headline_metrics(plan.workspace))

    with pipeline_run(plan.workspace, plan.config, flow_run_id, scores) as parent:
        environment = {PARENT_VARIABLE: parent, FLOW_RUN_VARIABLE: flow_run_id}
        for name in plan.chosen:
            moved = {each.name for each in ended if each.outcome is not Outcome.UNCHANGED}
            why = plan.stale.reasons.get(name) or [
                f"{each} ran again" for each in plan.graph.upstream[name] if each in moved
            ]
            if why or name in plan.work:
                ended.append(_bring_up_to_date(plan, name, environment, tuple(why or ["asked for"])))
            else:
                ended.append(_cached(name))
        stale = _stale(plan, freshness(plan.workspace, plan.config, plan.graph))
    return _report(plan, PipelineResult(tuple(ended), parent or None, stale))


def _stale(plan: _Plan, found: Freshness) -> tuple[str, ...]:
    """Why the scores that lie in the working copy are not those of this configuration; nothing where there are none."""
    return stale_results(found, plan.graph) if headline_metrics(plan.workspace) else ()


def _bring_up_to_date(plan: _Plan, name: str, environment: dict[str, str], why: tuple[str, ...]) -> StageOutcome:
    from tasks.runs.tracking import tag_versions

    shown = display()
    shown.stage_starts(name, why)
    task = bring_up_to_date
    if name in _NETWORK_STAGES:
        task = task.with_options(retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=worth_retrying)
    began = time.monotonic()
    again = plan.again or name in plan.stale.code
    try:
        state = task(plan.workspace, name, environment, shown.line, shown.progress, again=again, anew=plan.anew)
        outcome = _value(state)
    except BaseException:
        shown.stage_ends(name, None, time.monotonic() - began)
        raise
    shown.stage_ends(name, outcome.outcome, outcome.seconds)
    if outcome.outcome is Outcome.RAN:
        tag_versions(plan.workspace, plan.config, name, locked_hashes(plan.workspace, name))
    return replace(outcome, why=why)


def _cached(name: str) -> StageOutcome:
    return _value(show_as_cached(name))


def _value(state: State[StageOutcome]) -> StageOutcome:
    return state.result()


def _report(plan: _Plan, result: PipelineResult) -> PipelineResult:
    """Artifacts of the flow run: stages, metrics, filter funnel, the way to MLflow."""
    workspace = plan.workspace
    stages: list[dict[str, Any]] = [
        {"stage": each.name, "state": each.outcome.value, "seconds": round(each.seconds, 1), "why": "; ".join(each.why)}
        for each in result.stages
    ]
    create_table_artifact(markdown.cells(stages), key="stages", description="What became of each stage")
    if result.stale:
        create_markdown_artifact(
            f"The scores here are of an earlier run: {markdown.text('; '.join(result.stale))}", key="benchmarks"
        )
    elif rows := benchmark_rows(workspace):
        create_table_artifact(
            markdown.cells(rows),
            key="benchmarks",
            description="Models on benchmarks, percent, ± half of the 95% interval",
        )
    if funnel := funnel_rows(workspace):
        create_table_artifact(
            markdown.cells(funnel), key="filter-funnel", description="Why instances were kept or dropped"
        )
        create_markdown_artifact(funnel_plot(funnel), key="filter-funnel-plot", description="What each filter dropped")
    if result.mlflow_run:
        _point_to_mlflow(plan, result.mlflow_run)
    return result


def _point_to_mlflow(plan: _Plan, run: str) -> None:
    if servers := running_servers(plan.workspace):
        from tasks.runs.tracking import Store, runs_table

        try:
            page = f"{servers.mlflow}/{runs_table(Store.open(plan.workspace, plan.config.tracking))}"
        except ValueError:  # the run is good, whatever has become of the store
            page = servers.mlflow
        create_link_artifact(page, key="mlflow", link_text="MLflow", description=f"Run {run}")
    else:
        create_markdown_artifact(f"MLflow run `{run}`: `simpleseg ui` serves its page.", key="mlflow")
