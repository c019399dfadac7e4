"""MLflow: parents and children, curves and pictures, lineage, and runs that go on after a crash."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from simpleseg_core.files import read_state
from simpleseg_core.stages import StageResult
from tasks.tracking import PARENT_VARIABLE, Store, pipeline_run, stage_run
from tasks.workspace import Workspace, store_uri


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for the module: making one takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def config(workspace: Workspace, store: Path) -> Config:
    settings = (f"tracking.uri=sqlite:///{store}/mlflow.db", f"tracking.experiment={workspace.root.name}")
    return load_config(workspace.params, [*settings, "tracking.system_metrics=false"])


@pytest.fixture
def client(workspace: Workspace, config: Config) -> MlflowClient:
    return MlflowClient(store_uri(workspace, config.tracking))


def test_a_stage_leaves_a_child_with_curves_pictures_tables_and_lineage(
    workspace: Workspace, config: Config, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lock_inputs(workspace)
    picture = workspace.root / "sheet.png"
    headline = {"rl/refshapes/val/giou": 70.0}
    with (
        pipeline_run(workspace, config, "flow-1", lambda: headline) as parent,
        _child_of(parent, monkeypatch),
        stage_run(workspace, "contour", config) as run,
    ):
        for step in range(3):
            run.tracker.metrics({"loss": 1.0 / (step + 1), "iou@0.5": step}, step)
        run.tracker.image("probe/0", np.zeros((8, 8, 3), np.uint8), 2)
        picture.write_bytes(next((run.tracker.folder / "images").iterdir()).read_bytes())
        funnel = [{"filter": "detected", "dropped": 0, "kept": 8}, {"filter": "area", "dropped": 3, "kept": 5}]
        run.log_result("contour", StageResult({"kept": 5.0, "loss": 0.25}, {"funnel": funnel}, {"s": picture}))

    child = client.get_run(run.run_id)
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent
    assert child.data.tags["dvc.stage"] == "contour"
    assert len(child.data.tags["git.commit"]) == 40
    assert child.data.tags["git.dirty"] == "false"
    assert child.data.params["contour.order"] == "clockwise"
    assert "sft.steps" not in child.data.params
    curve = {(point.step, round(point.value, 3)) for point in client.get_metric_history(run.run_id, "loss")}
    assert curve == {(0, 1.0), (1, 0.5), (2, 0.333), (2, 0.25)}
    assert child.data.metrics["loss"] == 0.25
    assert "iou_0.5" in child.data.metrics
    assert _artifacts(client, run.run_id) >= {
        "params.yaml", "tables/funnel.csv", "images/funnel.png", "images/sheet.png",
    }  # fmt: skip
    assert any(path.startswith("images/probe~0+step+2") for path in _artifacts(client, run.run_id))
    [dataset] = child.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("data/masks", "0123456789abcdef0123456789abcdef.dir")
    whole = client.get_run(parent)
    assert whole.data.metrics == {"contour/kept": 5.0, "contour/loss": 0.25, "rl/refshapes/val/giou": 70.0}
    assert whole.data.tags["prefect.flow_run_id"] == "flow-1"
    assert whole.info.status == "FINISHED"
    assert (workspace.curves("contour")).read_text().startswith("step,loss,iou@0.5\n0,1,0\n")


def test_a_killed_stage_goes_on_in_its_run_and_no_point_is_lost(
    workspace: Workspace, config: Config, client: MlflowClient
) -> None:
    first = _broken_off_by(KeyboardInterrupt(), workspace, config)
    assert client.get_run(first).info.status == "KILLED"
    with stage_run(workspace, "sft", config) as second:
        assert client.get_run(second.run_id).info.status == "RUNNING"
        second.tracker.metrics({"loss": 1.0}, 2)
    assert second.run_id == first
    assert [point.step for point in client.get_metric_history(second.run_id, "loss")] == [1, 2]
    assert workspace.curves("sft").read_text() == "step,loss\n1,2\n2,1\n"


def test_other_settings_start_another_run(workspace: Workspace, config: Config, client: MlflowClient) -> None:
    first = _broken_off_by(RuntimeError(), workspace, config)
    assert client.get_run(first).info.status == "FAILED"
    changed = config.model_copy(update={"seed": 5})
    with stage_run(workspace, "sft", changed) as second:
        second.tracker.metrics({"loss": 1.0}, 7)
    assert second.run_id != first
    assert workspace.curves("sft").read_text() == "step,loss\n7,1\n"


def test_a_finished_stage_that_runs_again_starts_another_run(workspace: Workspace, config: Config) -> None:
    with stage_run(workspace, "sft", config) as first:
        pass
    with stage_run(workspace, "sft", config) as second:
        pass
    assert first.run_id != second.run_id
    assert workspace.curves("sft").read_text() == "step\n"  # a disabled training stage still leaves the file DVC wants


def test_an_interrupted_pipeline_goes_on_in_its_parent(
    workspace: Workspace, config: Config, client: MlflowClient
) -> None:
    with suppress(KeyboardInterrupt), pipeline_run(workspace, config, None, dict) as first:
        raise KeyboardInterrupt
    assert client.get_run(first).info.status == "KILLED"
    with suppress(RuntimeError), pipeline_run(workspace, config, None, dict) as second:
        assert client.get_run(second).info.status == "RUNNING"
        raise RuntimeError
    assert second == first
    assert client.get_run(first).info.status == "FAILED"
    with pipeline_run(workspace, config.model_copy(update={"seed": 9}), None, dict) as other:
        assert client.get_run(first).info.status == "KILLED"
    with pipeline_run(workspace, config, None, dict) as third:
        pass
    assert len({first, other, third}) == 3


def test_many_metrics_do_not_hold_the_stage_up(workspace: Workspace, config: Config, client: MlflowClient) -> None:
    with stage_run(workspace, "rl", config) as run:
        for step in range(1500):
            run.tracker.metrics({"a": step, "b": -step}, step)
    assert [point.value for point in client.get_metric_history(run.run_id, "b")] == [-step for step in range(1500)]


def test_points_that_mlflow_refused_are_sent_later(
    workspace: Workspace, config: Config, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage_run(workspace, "sft", config) as run:
        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, "log_batch", _refuse)
            run.tracker.metrics({"loss": 1.0}, 1)
            time.sleep(2.5)  # the shipper tries every two seconds
        run.tracker.metrics({"loss": 0.5}, 2)
    assert [point.step for point in client.get_metric_history(run.run_id, "loss")] == [1, 2]


def test_a_store_that_cannot_be_used_is_named(workspace: Workspace, config: Config) -> None:
    tracking = config.tracking.model_copy(update={"uri": "nonsense://x"})
    with pytest.raises(ValueError, match=r"tracking\.uri is 'nonsense://x'"):
        Store.open(workspace, tracking)


def test_the_default_store_lies_in_the_working_copy(workspace: Workspace) -> None:
    assert store_uri(workspace, Config().tracking) == f"sqlite:///{workspace.root}/mlflow.db"


def test_state_of_a_run_names_it(workspace: Workspace, config: Config) -> None:
    with stage_run(workspace, "sft", config) as run:
        state = read_state(workspace.tracking("sft") / "run.json")
        assert (state["run_id"], state["status"]) == (run.run_id, "running")
    assert read_state(workspace.tracking("sft") / "run.json")["status"] == "finished"


def _broken_off_by(error: BaseException, workspace: Workspace, config: Config) -> str:
    """The id of an SFT run that reported one point and then met an error."""
    run_id = ""
    try:
        with stage_run(workspace, "sft", config) as run:
            run_id = run.run_id
            run.tracker.metrics({"loss": 2.0}, 1)
            raise error
    except type(error):
        return run_id


@contextmanager
def _child_of(parent: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as environment:
        environment.setenv(PARENT_VARIABLE, parent)
        yield


def _refuse(*args: object, **kwargs: object) -> Run:
    raise ConnectionError("MLflow is away")


def _lock_inputs(workspace: Workspace) -> None:
    workspace.dvc_lock.write_text(
        "schema: '2.0'\nstages:\n  segment:\n    cmd: x\n    outs:\n"
        "    - {path: data/masks, hash: md5, md5: 0123456789abcdef0123456789abcdef.dir}\n"
    )


def _artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    found: set[str] = set()
    for each in client.list_artifacts(run_id, folder):
        found |= _artifacts(client, run_id, each.path) if each.is_dir else {each.path}
    return found
