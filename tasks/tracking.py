"""The one place where MLflow is called: a parent run for a pipeline run, a child run for each stage."""

import csv
import io
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from PIL import Image

from simpleseg_core.config import Config, TrackingConfig
from simpleseg_core.config.files import dump_yaml
from simpleseg_core.files import read_state, write_json
from simpleseg_core.stages import STAGES, StageResult
from tasks.curves import Curves
from tasks.lineage import fingerprint, git_tags, input_hashes, stage_settings
from tasks.spool import Spool
from tasks.workspace import Workspace, store_uri

_log = logging.getLogger(__name__)
for _noisy in ("alembic", "mlflow"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)

PARENT_VARIABLE = "SIMPLESEG_PARENT_RUN_ID"
"""The parent's id travels here: MLFLOW_RUN_ID would make the child the parent."""
FLOW_RUN_VARIABLE = "SIMPLESEG_FLOW_RUN_ID"

_BATCH = 1000
"""Most metrics that MLflow takes in one call."""
_PARAMS = 100
_PARAM_LENGTH = 500
_FLUSH_S = 2.0
_CURVES_S = 15.0


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
        try:
            client = MlflowClient(store_uri(workspace, tracking))
            return cls(client, _experiment(client, workspace, tracking))
        except MlflowException as error:
            raise ValueError(f"tracking.uri is {tracking.uri!r}, which MLflow cannot use: {error}") from error

    def start(self, name: str, tags: Mapping[str, str]) -> str:
        run = self.client.create_run(self.experiment, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def exists(self, run_id: str | None) -> bool:
        if not run_id:
            return False
        try:
            return self.client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def reopen(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.update_run(run_id, status="RUNNING")
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def params(self, run_id: str, settings: Mapping[str, object]) -> None:
        params = [Param(_name(key), str(value)[:_PARAM_LENGTH]) for key, value in _flat(settings)]
        for at in range(0, len(params), _PARAMS):
            self.client.log_batch(run_id, params=params[at : at + _PARAMS])

    def numbers(self, run_id: str, values: Mapping[str, float], step: int = 0) -> None:
        # MLflow shows the latest of a step: later than a point of the same millisecond.
        latest = _now_ms() + 1
        metrics = [Metric(_name(key), float(value), latest, step) for key, value in values.items()]
        for at in range(0, len(metrics), _BATCH):
            self.client.log_batch(run_id, metrics=metrics[at : at + _BATCH])

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


@dataclass(frozen=True, slots=True)
class StageRun:
    """The MLflow run of one stage while it goes on."""

    store: Store
    run_id: str
    tracker: Spool

    def log_result(self, stage: str, result: StageResult) -> None:
        """Headline numbers (on the parent too), tables as CSV, pictures."""
        # At the end of the curves: a number of the same name must not look like their start.
        self.store.numbers(self.run_id, result.metrics, self.tracker.last_step())
        parent = os.environ.get(PARENT_VARIABLE)
        if parent and stage != "report":  # what the report repeats, the parent gets as its headline
            self.store.numbers(parent, {f"{stage}/{key}": value for key, value in result.metrics.items()})
        for name, rows in result.tables.items():
            self.store.client.log_text(self.run_id, _csv(rows), f"tables/{_file_name(name)}.csv")
        for path in result.images.values():
            self.store.client.log_artifact(self.run_id, str(path), "images")
        if funnel := result.tables.get("funnel"):
            from simpleseg_core.viz import funnel_picture  # matplotlib takes half a second, and most stages need none

            self.store.client.log_image(self.run_id, funnel_picture(funnel), "images/funnel.png")


@contextmanager
def stage_run(workspace: Workspace, stage: str, config: Config) -> Iterator[StageRun]:
    """The MLflow run of a stage: an interrupted one goes on, else a new one starts."""
    store = Store.open(workspace, config.tracking)
    spool = Spool(workspace.tracking(stage))
    hashes = input_hashes(workspace, STAGES[stage])
    run_id = _continue_or_start(workspace, store, stage, config, hashes)
    with ExitStack() as stack:
        state = {"run_id": run_id, "fingerprint": _fingerprint(config, stage, hashes)}
        write_json(spool.folder / "run.json", state | {"status": "running"})
        curves = Curves(workspace.curves(stage))
        if "model" in STAGES[stage].outputs:
            curves.write()  # DVC asks for the file of a training stage even when the stage is switched off
        shipper = stack.enter_context(_shipping(store, run_id, spool, curves))
        if config.tracking.system_metrics:
            stack.enter_context(_system_metrics(store, run_id))
        try:
            yield StageRun(store, run_id, spool)
            shipper.drain()
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            with suppress(MlflowException):  # the stage's error is the one to tell
                store.client.set_terminated(run_id, status)
            write_json(spool.folder / "run.json", state | {"status": status.lower()})
            raise
        store.client.set_terminated(run_id, "FINISHED")
        write_json(spool.folder / "run.json", state | {"status": "finished"})


def _continue_or_start(
    workspace: Workspace, store: Store, stage: str, config: Config, hashes: Mapping[str, str]
) -> str:
    folder = workspace.tracking(stage)
    before = read_state(folder / "run.json")
    tags = _stage_tags(workspace, stage)
    unfinished = before.get("status") not in (None, "finished")
    if unfinished and before.get("fingerprint") == _fingerprint(config, stage, hashes):
        if store.exists(before.get("run_id")):
            _log.info("continuing MLflow run %s of the interrupted %s", before["run_id"], stage)
            store.reopen(before["run_id"], tags)
            return str(before["run_id"])
        (folder / "shipped.json").unlink(missing_ok=True)  # a new store gets the whole curves
    else:
        if before.get("status") == "running" and store.exists(before.get("run_id")):
            store.client.set_terminated(before["run_id"], "KILLED")
        shutil.rmtree(folder, ignore_errors=True)
    run_id = store.start(stage, tags)
    store.params(run_id, stage_settings(config, STAGES[stage]))
    store.inputs(run_id, {str(STAGES[stage].inputs[role]): md5 for role, md5 in hashes.items()})
    store.client.log_text(run_id, dump_yaml(config), "params.yaml")
    return run_id


def _stage_tags(workspace: Workspace, stage: str) -> dict[str, str]:
    tags = {"dvc.stage": stage, **git_tags(workspace)}
    if parent := os.environ.get(PARENT_VARIABLE):
        tags["mlflow.parentRunId"] = parent
    if flow_run := os.environ.get(FLOW_RUN_VARIABLE):
        tags["prefect.flow_run_id"] = flow_run
    return tags


def _fingerprint(config: Config, stage: str, hashes: Mapping[str, str]) -> str:
    return fingerprint(stage_settings(config, STAGES[stage]), hashes)


class _Shipper(threading.Thread):
    """Carries events from the spool to MLflow and to the CSV file, in the background and in batches."""

    def __init__(self, store: Store, run_id: str, spool: Spool, curves: Curves) -> None:
        super().__init__(name="mlflow-shipper", daemon=True)
        self.store, self.run_id, self.spool, self.curves = store, run_id, spool, curves
        self.ending = threading.Event()
        self._shipping = threading.Lock()
        self._offset_file = spool.folder / "shipped.json"
        self._shipped = int(read_state(self._offset_file).get("offset", 0))
        self._collected = 0
        self._curves_at = 0.0
        self._warned = False

    def run(self) -> None:
        while not self.ending.wait(_FLUSH_S):
            self.drain()

    def drain(self) -> None:
        """Ship everything that is there; what MLflow does not take now stays for the next time."""
        with self._shipping:
            try:
                while self._ship_batch():
                    pass
            except Exception as error:
                if not self._warned:
                    _log.warning("MLflow does not take metrics now, they are kept and sent later: %s", error)
                self._warned = True
            if time.monotonic() - self._curves_at > _CURVES_S or self.ending.is_set():
                self.write_curves()

    def write_curves(self) -> None:
        self._curves_at = time.monotonic()
        while batch := list(self.spool.read(self._collected)):
            for self._collected, event in batch:
                if "metrics" in event:
                    self.curves.add(event["step"], event["metrics"])
        if self.curves.rows:
            self.curves.write()

    def _ship_batch(self) -> bool:
        batch = list(self.spool.read(self._shipped))
        if not batch:
            return False
        metrics = [
            Metric(_name(key), value, event["time_ms"], event["step"])
            for _, event in batch
            for key, value in event.get("metrics", {}).items()
        ]
        for at in range(0, len(metrics), _BATCH):
            self.store.client.log_batch(self.run_id, metrics=metrics[at : at + _BATCH])
        for _, event in batch:
            if "image" in event:
                self._ship_image(event)
        self._shipped = batch[-1][0]
        write_json(self._offset_file, {"offset": self._shipped})
        return True

    def _ship_image(self, event: Mapping[str, Any]) -> None:
        file = self.spool.folder / "images" / event["file"]
        if not file.exists():  # shipped just before a crash that lost the offset
            return
        with Image.open(file) as image:
            self.store.client.log_image(
                self.run_id, image, key=_name(event["image"]), step=event["step"], timestamp=event["time_ms"]
            )
        file.unlink()


@contextmanager
def _shipping(store: Store, run_id: str, spool: Spool, curves: Curves) -> Iterator[_Shipper]:
    shipper = _Shipper(store, run_id, spool, curves)
    shipper.start()
    try:
        yield shipper
    finally:
        shipper.ending.set()
        shipper.join()
        shipper.drain()


@contextmanager
def _system_metrics(store: Store, run_id: str) -> Iterator[None]:
    monitor = SystemMetricsMonitor(
        run_id, sampling_interval=5, resume_logging=True, tracking_uri=store.client.tracking_uri
    )
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


@contextmanager
def pipeline_run(
    workspace: Workspace, config: Config, flow_run_id: str | None, headline: Callable[[], Mapping[str, float]]
) -> Iterator[str]:
    """The id of the parent run: that of the interrupted pipeline run with the same configuration, else a new one.

    It ends finished, with the headline metrics, or failed or killed; the next run then continues it.
    """
    store = Store.open(workspace, config.tracking)
    run_id = _open_parent(workspace, store, config, flow_run_id)
    try:
        yield run_id
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        with suppress(MlflowException):  # the stage's error is the one to tell
            store.client.set_terminated(run_id, status)
        raise
    store.numbers(run_id, headline())
    store.client.set_terminated(run_id, "FINISHED")
    workspace.pipeline_state.unlink(missing_ok=True)


def _open_parent(workspace: Workspace, store: Store, config: Config, flow_run_id: str | None) -> str:
    before = read_state(workspace.pipeline_state)
    settings = config.model_dump(mode="json")
    tags = git_tags(workspace) | ({"prefect.flow_run_id": flow_run_id} if flow_run_id else {})
    if store.exists(before.get("run_id")):
        if before.get("fingerprint") == fingerprint(settings):
            _log.info("continuing the pipeline's MLflow run %s", before["run_id"])
            store.reopen(before["run_id"], tags)
            return str(before["run_id"])
        store.client.set_terminated(before["run_id"], "KILLED")
    run_id = store.start("pipeline", {"simpleseg.profile": config.profile, **tags})
    store.params(run_id, settings)
    store.client.log_text(run_id, dump_yaml(config), "params.yaml")
    write_json(workspace.pipeline_state, {"run_id": run_id, "fingerprint": fingerprint(settings)})
    return run_id


def tag_versions(workspace: Workspace, config: Config, stage: str, hashes: Mapping[str, str]) -> None:
    """Write DVC's hashes of what a stage produced on its run: known only after DVC has stored them."""
    run_id = read_state(workspace.tracking(stage) / "run.json").get("run_id")
    store = Store.open(workspace, config.tracking)
    if not store.exists(run_id):
        return
    tags = [RunTag(f"dvc.lock.{path}", md5) for path, md5 in hashes.items()]
    store.client.log_batch(str(run_id), tags=tags)


def _experiment(client: MlflowClient, workspace: Workspace, tracking: TrackingConfig) -> str:
    if found := client.get_experiment_by_name(tracking.experiment):
        return str(found.experiment_id)
    local = tracking.uri.startswith("sqlite:")
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


def _name(key: str) -> str:
    """A metric's or parameter's name with what MLflow refuses in it replaced."""
    return re.sub(r"[^\w\-. /]", "_", key, flags=re.ASCII)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w\-.]", "_", name)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    table = csv.DictWriter(text, list(columns))
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _now_ms() -> int:
    return int(time.time() * 1000)
