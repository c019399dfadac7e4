"""The pipeline flow on two tiny stages: what runs, what is cached, what Prefect shows, and what a failure leaves."""

import fcntl
from collections.abc import Iterator
from typing import get_args

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.states import Failed
from prefect.testing.utilities import prefect_test_harness

from flows.pipeline import BusyError, PipelineParams, PipelineResult, StageName, pipeline
from simpleseg_core.config.files import ConfigError, load_config
from simpleseg_core.stages import STAGES
from tasks.data_version import Outcome, StageFailedError
from tasks.reproduce import worth_retrying
from tasks.workspace import Workspace, store_uri
from tests.tiny_pipeline import runs


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=300):
        yield


def test_the_form_offers_every_stage() -> None:
    assert get_args(StageName) == tuple(STAGES)


@pytest.mark.parametrize(("exit_code", "again"), [(1, True), (2, False)])
def test_a_network_stage_is_tried_again_unless_its_input_is_at_fault(exit_code: int, again: bool) -> None:
    failed = Failed(data=StageFailedError("ingest", exit_code, []))
    assert worth_retrying(None, None, failed) is again


def outcomes(result: PipelineResult) -> dict[str, Outcome]:
    return {stage.name: stage.outcome for stage in result.stages}


def test_a_run_a_second_run_and_a_change(workspace: Workspace) -> None:
    first = pipeline()
    assert outcomes(first) == {"ingest": Outcome.RAN, "contour": Outcome.RAN}
    second = pipeline()
    assert outcomes(second) == {"ingest": Outcome.UNCHANGED, "contour": Outcome.UNCHANGED}
    assert second.mlflow_run is None
    third = pipeline(PipelineParams(overrides=["contour.tolerance=0.4"]))
    assert outcomes(third) == {"ingest": Outcome.UNCHANGED, "contour": Outcome.RAN}
    assert runs(workspace) == ["images", "polygons", "polygons"]
    assert load_config(workspace.params).contour.tolerance == 0.4
    client = MlflowClient(store_uri(workspace, load_config(workspace.params).tracking))
    parent = client.get_run(str(third.mlflow_run))
    assert parent.info.status == "FINISHED"
    assert parent.data.params["contour.tolerance"] == "0.4"
    _prefect_shows(parent.data.tags["prefect.flow_run_id"])


def _prefect_shows(flow_run: str) -> None:
    """Cached and completed stages, and the artifacts, of the flow run that changed the tolerance."""
    with get_client(sync_client=True) as client:
        task_runs = client.request("POST", "/task_runs/filter", json={"flow_runs": {"id": {"any_": [flow_run]}}}).json()
        assert {run["name"]: run["state"]["name"] for run in task_runs} == {"ingest": "Cached", "contour": "Completed"}
        found = client.request("POST", "/artifacts/filter", json={}).json()
        assert {"stages", "mlflow"} <= {artifact["key"] for artifact in found if artifact["flow_run_id"] == flow_run}


def test_only_the_chosen_stages_run(workspace: Workspace) -> None:
    assert outcomes(pipeline(PipelineParams(until="ingest"))) == {"ingest": Outcome.RAN}
    assert outcomes(pipeline(PipelineParams(from_stage="ingest", until="ingest", force=True))) == {
        "ingest": Outcome.RAN
    }
    assert runs(workspace) == ["images", "images"]


def test_a_failing_stage_ends_the_run_and_the_next_run_goes_on(workspace: Workspace) -> None:
    pipeline(PipelineParams(until="ingest"))
    (workspace.root / "fail").write_text("1")
    with pytest.raises(StageFailedError, match="contour"):
        pipeline()
    client = MlflowClient(store_uri(workspace, load_config(workspace.params).tracking))
    [failed] = client.search_runs([client.get_experiment_by_name("simpleseg").experiment_id], "status = 'FAILED'")
    (workspace.root / "fail").unlink()
    again = pipeline()
    assert outcomes(again) == {"ingest": Outcome.UNCHANGED, "contour": Outcome.RAN}
    assert again.mlflow_run == failed.info.run_id


def test_two_pipelines_do_not_run_in_one_working_copy(workspace: Workspace) -> None:
    workspace.run_lock.parent.mkdir()
    with workspace.run_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        with pytest.raises(BusyError, match="process 4711"):
            pipeline()


def test_a_range_that_starts_on_nothing_is_refused(workspace: Workspace) -> None:
    with pytest.raises(
        ValueError, match=r"contour reads data/images, which is missing: `simpleseg run --until ingest`"
    ):
        pipeline(PipelineParams(from_stage="contour"))


def test_a_wrong_override_changes_nothing(workspace: Workspace) -> None:
    before = workspace.params.read_text()
    with pytest.raises(ConfigError, match="less than 1"):
        pipeline(PipelineParams(overrides=["contour.tolerance=4"]))
    assert workspace.params.read_text() == before
    assert runs(workspace) == []
