"""The pipeline flow: brings the stages of dvc.yaml that are out of date up to date, one Prefect task each."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field

from flows.display import display
from flows.edit import edit_params
from flows.servers import running_servers
from flows.tables import benchmark_rows, funnel_plot, funnel_rows, headline_metrics
from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from tasks.data_version import Graph, Outcome, cure_stale_locks, out_of_date, read_graph
from tasks.lineage import locked_hashes
from tasks.reproduce import StageOutcome, bring_up_to_date, show_as_cached, worth_retrying
from tasks.workspace import Workspace

StageName = Literal[
    "ingest", "detect", "segment", "contour", "describe", "dataset", "pretrain", "sft", "rl", "evaluate", "report"
]

_NETWORK_STAGES = frozenset({"ingest"})


class PipelineParams(BaseModel):
    """What to run."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    until: StageName | None = None
    """Last stage; everything it needs is brought up to date first."""
    from_stage: StageName | None = None
    """First stage; what comes before is taken as it is."""
    overrides: list[str] = Field(default_factory=list)
    """`key=value` changes of params.yaml, such as `contour.tolerance=0.01`; they stay in the file."""
    force: bool = False
    """Run the chosen stages even if they are up to date."""


class BusyError(RuntimeError):
    """Another pipeline runs in this working copy."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What became of the run."""

    stages: tuple[StageOutcome, ...]
    mlflow_run: str | None
    """Id of the parent run; None where nothing had to run."""


@flow(name="pipeline", log_prints=False, persist_result=False)
def pipeline(params: PipelineParams = PipelineParams()) -> PipelineResult:  # noqa: B008 (the default is immutable in use)
    """Bring the pipeline of this working copy up to date.

    Raises:
        ConfigError: params.yaml or an override cannot be used.
        StageFailedError: a stage failed; what was done before it stays done.
        BusyError: another run is going on here.
    """
    workspace = Workspace.find()
    logger = get_run_logger()
    with _alone(workspace):
        for change in edit_params(workspace, params.overrides):
            logger.info("params.yaml: %s", change)
        config = load_config(workspace.params)
        for cured in cure_stale_locks(workspace):
            logger.warning("removed %s", cured)
        graph = read_graph(workspace)
        chosen = graph.between(params.from_stage, params.until)
        _check_inputs(workspace, graph, chosen)
        stale = out_of_date(workspace)
        work = [name for name in chosen if params.force or name in stale]
        if not work:
            return _report(workspace, PipelineResult(tuple(_cached(name) for name in chosen), None))
        return _run(workspace, config, graph, chosen, stale, force=params.force)


def _check_inputs(workspace: Workspace, graph: Graph, chosen: Sequence[str]) -> None:
    """What the first stages of a range read is there already."""
    for name in chosen:
        for maker in graph.upstream[name]:
            missing = [path for path in graph.reads(name, maker) if not (workspace.root / path).exists()]
            if maker not in chosen and missing:
                raise ValueError(
                    f"{name} reads {missing[0]}, which is missing: `simpleseg run --until {maker}` makes it, "
                    f"or start from {maker}"
                )


def _run(
    workspace: Workspace,
    config: Config,
    graph: Graph,
    chosen: Sequence[str],
    stale: dict[str, list[str]],
    *,
    force: bool,
) -> PipelineResult:
    from tasks.tracking import FLOW_RUN_VARIABLE, PARENT_VARIABLE, pipeline_run

    flow_run_id = str(flow_run.id or "")
    ended: list[StageOutcome] = []
    with pipeline_run(workspace, config, flow_run_id, lambda: headline_metrics(workspace)) as parent:
        environment = {PARENT_VARIABLE: parent, FLOW_RUN_VARIABLE: flow_run_id}
        for name in chosen:
            moved = {each.name for each in ended if each.outcome is not Outcome.UNCHANGED}
            why = stale.get(name) or [f"{each} ran again" for each in graph.upstream[name] if each in moved]
            if why or force:
                reasons = tuple(why or ["forced"])
                ended.append(_bring_up_to_date(workspace, config, name, environment, reasons, force))
            else:
                ended.append(_cached(name))
    return _report(workspace, PipelineResult(tuple(ended), parent))


def _bring_up_to_date(
    workspace: Workspace, config: Config, name: str, environment: dict[str, str], why: tuple[str, ...], force: bool
) -> StageOutcome:
    from tasks.tracking import tag_versions

    shown = display()
    shown.stage_starts(name, why)
    task = bring_up_to_date
    if name in _NETWORK_STAGES:
        task = task.with_options(retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=worth_retrying)
    began = time.monotonic()
    try:
        outcome = _value(task(workspace, name, environment, shown.line, shown.progress, force))
    except BaseException:
        shown.stage_ends(name, None, time.monotonic() - began)
        raise
    shown.stage_ends(name, outcome.outcome, outcome.seconds)
    if outcome.outcome is Outcome.RAN:
        tag_versions(workspace, config, name, locked_hashes(workspace, name))
    return replace(outcome, why=why)


def _cached(name: str) -> StageOutcome:
    return _value(show_as_cached(name))


def _value(state: State[StageOutcome]) -> StageOutcome:
    return state.result()


def _report(workspace: Workspace, result: PipelineResult) -> PipelineResult:
    """Artifacts of the flow run: stages, metrics, filter funnel, the way to MLflow."""
    stages: list[dict[str, Any]] = [
        {"stage": each.name, "state": each.outcome.value, "seconds": round(each.seconds, 1), "why": "; ".join(each.why)}
        for each in result.stages
    ]
    create_table_artifact(stages, key="stages", description="What became of each stage")
    if rows := benchmark_rows(workspace):
        create_table_artifact(
            rows, key="benchmarks", description="Models on benchmarks, percent, ± half of the 95% interval"
        )
    if funnel := funnel_rows(workspace):
        create_table_artifact(funnel, key="filter-funnel", description="Why instances were kept or dropped")
        create_markdown_artifact(funnel_plot(funnel), key="filter-funnel-plot", description="What each filter dropped")
    servers = running_servers(workspace)
    if servers and result.mlflow_run:
        create_link_artifact(servers.mlflow, key="mlflow", link_text="MLflow", description=f"Run {result.mlflow_run}")
    elif result.mlflow_run:
        create_markdown_artifact(f"MLflow run `{result.mlflow_run}`: `simpleseg ui` serves its page.", key="mlflow")
    return result


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Hold the lock of the working copy; the operating system frees it when this process dies, however it dies."""
    workspace.run_lock.parent.mkdir(parents=True, exist_ok=True)
    with workspace.run_lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise BusyError(
                f"a pipeline already runs in {workspace.root} (process {holder}): wait for it, or stop it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
