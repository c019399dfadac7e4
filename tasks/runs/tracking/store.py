"""MLflow's store: one connection for the runs of one working copy."""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from simpleseg_core.config import TrackingConfig
from simpleseg_core.config.secrets import redact
from simpleseg_core.metrics import HEADLINES
from tasks.runs.tracking.home import check_usable, rehome
from tasks.runs.workspace import Workspace, store_uri

BATCH = 1000
"""Most metrics that MLflow takes in one call."""
_PARAMS = 100
_PARAM_LENGTH = 500
_COLUMNS = {name for name, metric in HEADLINES.items() if metric.unit == "%"}
_SHARED_VIEW, _VIEW = "mlflow.sharedViewState.", "headline"
"""The experiment's tag where MLflow's page keeps how a shared table of runs looks."""


def runs_table(store: "Store") -> str:
    """Where MLflow's page shows the table of runs, to be put after its address: the page there is about traces, and
    empty."""
    tags = store.client.get_experiment(store.experiment).tags
    view = f"&viewStateShareKey={_VIEW}" if f"{_SHARED_VIEW}{_VIEW}" in tags else ""
    return f"#/experiments/{store.experiment}/runs?workflowType=machine_learning{view}"


@dataclass(frozen=True, slots=True)
class Store:
    """A connection to MLflow for the runs of one working copy."""

    client: MlflowClient
    experiment: str
    """Id of the experiment."""

    @classmethod
    def open(cls, workspace: Workspace, tracking: TrackingConfig) -> "Store":
        """Connect; the experiment is made where it is missing.

        Raises:
            ValueError: the store cannot be reached or used.
        """
        uri = _lend_credentials(store_uri(workspace, tracking))
        check_usable(uri)
        try:
            client = MlflowClient(uri)
            store = cls(client, _experiment(client, workspace, tracking))
        except MlflowException as error:  # without its cause: a traceback might show a password
            named = "MLFLOW_TRACKING_URI" if os.environ.get("MLFLOW_TRACKING_URI") else "tracking.uri"
            raise ValueError(redact(f"{named} is {uri!r}, which MLflow cannot use: {error}")) from None
        rehome(workspace, uri)
        return store

    def show_columns(self, metrics: Iterable[str]) -> None:
        """Let the page of runs (`runs_table`) show headline metrics as columns, beside what it shows by itself."""
        columns = [f"metrics.`{clean_name(name)}`" for name in metrics if name.rpartition("/")[2] in _COLUMNS]
        shown = ["attributes.`Source`", "params.`profile`", "params.`seed`", *columns]
        view = json.dumps({"selectedColumns": shown})
        self.client.set_experiment_tag(self.experiment, f"{_SHARED_VIEW}{_VIEW}", view)

    def start(self, name: str, tags: Mapping[str, str], time_ms: int | None = None) -> str:
        """A new run, begun at a time (now by default); returns its id."""
        run = self.client.create_run(self.experiment, start_time=time_ms, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def exists(self, run_id: str | None) -> bool:
        """Whether the store knows a run that nobody has deleted.

        Raises:
            MlflowException: the store does not say.
        """
        if not run_id:
            return False
        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return False

    def predictions(self, run_id: str) -> str:
        """DVC hash of the predictions that a run made, or that one of its stages made.

        Raises:
            ValueError: there is no such run, or it evaluated nothing.
        """
        if not self.exists(run_id):
            raise ValueError(f"{run_id}: MLflow knows no such run")
        children = self.client.search_runs([self.experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
        runs = [self.client.get_run(run_id), *children]
        hashes = (run.data.tags.get("dvc.lock.data/predictions") for run in runs)
        if (found := next(filter(None, hashes), None)) is None:
            raise ValueError(f"{run_id}: this run evaluated nothing; name one with a child run `evaluate`")
        return found

    def reopen(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.update_run(run_id, status="RUNNING")
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def params(self, run_id: str, settings: Mapping[str, object]) -> None:
        params = [Param(clean_name(key), str(value)[:_PARAM_LENGTH]) for key, value in _flat(settings)]
        for at in range(0, len(params), _PARAMS):
            self.client.log_batch(run_id, params=params[at : at + _PARAMS])

    def numbers(self, run_id: str, values: Mapping[str, float], step: int = 0) -> None:
        # MLflow shows the latest of a step: later than a point of the same millisecond.
        latest = _now_ms() + 1
        metrics = [Metric(clean_name(key), float(value), latest, step) for key, value in values.items()]
        for at in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[at : at + BATCH])

    def inputs(self, run_id: str, hashes: Mapping[str, str]) -> None:
        """What was read, with DVC's hashes (a digest may have 36 characters at most)."""
        datasets = [
            DatasetInput(
                Dataset(name=path, digest=md5[:36], source_type="dvc", source=json.dumps({"path": path, "md5": md5})),
                [InputTag("mlflow.data.context", "input")],
            )
            for path, md5 in hashes.items()
        ]
        if datasets:
            self.client.log_inputs(run_id, datasets)


def _lend_credentials(uri: str) -> str:
    """The address of a server without name and password: MLflow prints addresses, and takes these from variables."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return uri
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(parts.username))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _experiment(client: MlflowClient, workspace: Workspace, tracking: TrackingConfig) -> str:
    if found := client.get_experiment_by_name(tracking.experiment):
        return str(found.experiment_id)
    local = client.tracking_uri.startswith("sqlite:")
    try:
        return str(
            client.create_experiment(tracking.experiment, (workspace.root / "mlruns").as_uri() if local else None)
        )
    except MlflowException:  # another process was faster
        found = client.get_experiment_by_name(tracking.experiment)
        if found is None:
            raise
        return str(found.experiment_id)


def _flat(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def clean_name(key: str) -> str:
    """A metric's or parameter's name with what MLflow refuses in it replaced."""
    return re.sub(r"[^\w\-. /]", "_", key, flags=re.ASCII)


def _now_ms() -> int:
    return int(time.time() * 1000)
