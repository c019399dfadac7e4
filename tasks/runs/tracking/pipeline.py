"""The MLflow run of a pipeline run: the parent of its stages' runs, with the scores as its headline."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException

from simpleseg_core.config import Config
from simpleseg_core.config.files import dump_yaml
from simpleseg_core.files import read_state, write_json
from simpleseg_core.fingerprint import fingerprint
from tasks.runs.lineage import git_tags, run_name
from tasks.runs.tracking.stage import send_kept
from tasks.runs.tracking.store import Store
from tasks.runs.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the models have reached on the benchmarks, as `MODEL/BENCHMARK/METRIC`; none where others were measured."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    stale: Sequence[str] = ()
    """Why the scores in the working copy are not those of this configuration, data and code."""

    @property
    def giou(self) -> float | None:
        """Of the last model on its first benchmark, in percent."""
        models = list(dict.fromkeys(name.partition("/")[0] for name in self.metrics))
        found = (
            value for name, value in self.metrics.items() if name.startswith(models[-1]) and name.endswith("/giou")
        )
        return next(found, None)


@contextmanager
def pipeline_run(
    workspace: Workspace, config: Config, flow_run_id: str | None, scores: Callable[[], Scores]
) -> Iterator[str]:
    """The id of the parent run: that of the interrupted pipeline run with the same configuration, else a new one.

    It ends finished, with the scores as its headline, or failed or killed; the next run then continues it. The id is
    empty where MLflow's store cannot be used: the pipeline does not wait for it.
    """
    try:
        store = Store.open(workspace, config.tracking)
        run_id = _open_parent(workspace, store, config, flow_run_id)
    except (ValueError, MlflowException) as error:
        _log.warning("this pipeline run has no run in MLflow; its stages' runs are kept and sent later: %s", error)
        yield ""
        return
    send_kept(workspace, config)
    try:
        yield run_id
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with suppress(MlflowException):  # the stage's error is the one to tell
            store.client.set_terminated(run_id, status)
        raise
    try:
        _close(store, run_id, config, scores())
        workspace.pipeline_state.unlink(missing_ok=True)
    except MlflowException as error:
        _log.warning("the scores are not in MLflow, the next run of the pipeline brings them: %s", error)


def _close(store: Store, run_id: str, config: Config, scores: Scores) -> None:
    store.numbers(run_id, scores.metrics)
    results = f"stale: {'; '.join(scores.stale)}" if scores.stale else "current" if scores.metrics else "none"
    store.client.log_batch(run_id, tags=[RunTag("simpleseg.results", results[:5000])])
    if scores.giou is not None:
        store.client.update_run(run_id, name=f"{run_name(config)}: {scores.giou:.1f} gIoU")
    if scores.metrics:
        store.show_columns(scores.metrics)
    store.client.set_terminated(run_id, "FINISHED")


def _open_parent(workspace: Workspace, store: Store, config: Config, flow_run_id: str | None) -> str:
    before = read_state(workspace.pipeline_state)
    settings = config.model_dump(mode="json")
    tags = git_tags(workspace) | ({"prefect.flow_run_id": flow_run_id} if flow_run_id else {})
    if store.exists(before.get("run_id")):
        if before.get("fingerprint") == fingerprint(settings=settings):
            _log.info("continuing the pipeline's MLflow run %s", before["run_id"])
            store.reopen(before["run_id"], tags)
            return str(before["run_id"])
        store.client.set_terminated(before["run_id"], "KILLED")
    run_id = store.start(run_name(config), {"simpleseg.profile": config.profile, **tags})
    store.params(run_id, settings)
    store.client.log_text(run_id, dump_yaml(config), "params.yaml")
    write_json(workspace.pipeline_state, {"run_id": run_id, "fingerprint": fingerprint(settings=settings)})
    return run_id
