"""The pipeline flow on two tiny stages: what runs, what is cached, what Prefect shows, and what a failure leaves."""

import fcntl
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.states import Failed
from prefect.testing.utilities import prefect_test_harness

from flows.pipeline import PipelineParams, PipelineResult, pipeline
from simpleseg_core.config.files import ConfigError, load_config
from tasks.graph import STAGES
from tasks.runs import code
from tasks.runs.data_version import Outcome, StageFailedError, read_graph
from tasks.runs.freshness import freshness
from tasks.runs.lock import BusyError
from tasks.runs.reproduce import worth_retrying
from tasks.runs.workspace import Workspace, store_uri
from tests.tasks.annotation_inputs import run_stage, write_refshapes
from tests.tiny_pipeline import runs

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=300):
        yield


def test_the_form_offers_every_stage() -> None:
    until = PipelineParams.model_json_schema()["properties"]["until"]
    assert {"type": "string", "enum": list(STAGES)} in until["anyOf"]
    with pytest.raises(ValueError, match=r"no stage 'retrain', did you mean `pretrain`.: choose one of ingest, detect"):
        PipelineParams(until="retrain")


@pytest.mark.parametrize(("exit_code", "again"), [(1, True), (2, False), (143, False)])
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
    """Name, cached and completed stages, and the artifacts, of the flow run that changed the tolerance."""
    with get_client(sync_client=True) as client:
        task_runs = client.request("POST", "/task_runs/filter", json={"flow_runs": {"id": {"any_": [flow_run]}}}).json()
        assert {run["name"]: run["state"]["name"] for run in task_runs} == {"ingest": "Cached", "contour": "Completed"}
        shown = client.request("GET", "/flow_runs/{id}", path_params={"id": flow_run}).json()
        assert shown["name"] == "nano, contour.tolerance=0.4"
        found = client.request("POST", "/artifacts/filter", json={}).json()
        assert {"stages", "mlflow"} <= {artifact["key"] for artifact in found if artifact["flow_run_id"] == flow_run}


def test_only_the_chosen_stages_run(workspace: Workspace) -> None:
    assert outcomes(pipeline(PipelineParams(until="ingest"))) == {"ingest": Outcome.RAN}
    assert outcomes(pipeline(PipelineParams(from_stage="ingest", until="ingest", force=True))) == {
        "ingest": Outcome.RAN
    }
    assert outcomes(pipeline(PipelineParams(from_stage="ingest", until="ingest", again=True))) == {
        "ingest": Outcome.RAN
    }
    assert runs(workspace) == ["images", "images-anew", "images"], "force forgets, again keeps"


def test_going_back_to_earlier_settings_costs_nothing(workspace: Workspace) -> None:
    before = load_config(workspace.params).contour.tolerance
    pipeline()
    pipeline(PipelineParams(overrides=["contour.tolerance=0.4"]))
    back = pipeline(PipelineParams(overrides=[f"contour.tolerance={before}"]))
    assert outcomes(back) == {"ingest": Outcome.UNCHANGED, "contour": Outcome.RESTORED}
    assert runs(workspace) == ["images", "polygons", "polygons"]


def test_scores_of_another_configuration_are_no_headline(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runs.freshness._RESULTS", "contour")  # as if it wrote the scores
    assert pipeline(PipelineParams(until="ingest")).stale == (), "there are none yet"
    workspace.final_metrics.parent.mkdir(exist_ok=True)
    workspace.final_metrics.write_text('{"rl": {"refshapes/val": {"giou": {"value": 70.9, "low": 69, "high": 72}}}}')
    fresh = pipeline()
    assert fresh.stale == ()
    client = MlflowClient(store_uri(workspace, load_config(workspace.params).tracking))
    assert client.get_run(str(fresh.mlflow_run)).data.metrics["rl/refshapes/val/giou"] == 70.9
    part = pipeline(PipelineParams(until="ingest", overrides=["contour.tolerance=0.2"], again=True))
    assert part.stale == ("contour: contour.tolerance: 0.02 -> 0.2",)
    ended = client.get_run(str(part.mlflow_run)).data
    assert "rl/refshapes/val/giou" not in ended.metrics
    assert ended.tags["simpleseg.results"] == "stale: contour: contour.tolerance: 0.02 -> 0.2"
    nothing = pipeline(PipelineParams(until="ingest"))
    assert (nothing.mlflow_run, nothing.stale) == (None, part.stale)


def test_a_file_that_is_not_there_changes_and_costs_nothing(workspace: Workspace) -> None:
    pipeline()
    before = workspace.params.read_text()
    with pytest.raises(FileNotFoundError, match=r"/nope/instances\.json: no such file; set data\.coco\.root"):
        pipeline(PipelineParams(overrides=["data.source=coco", "data.coco.root=/nope"]))
    assert workspace.params.read_text() == before
    assert runs(workspace) == ["images", "polygons"]
    assert (workspace.root / "data" / "images" / "out.txt").exists()


def test_a_model_that_cannot_be_had_is_told_before_anything_runs(workspace: Workspace) -> None:
    stage = (
        "  pretrain:\n    cmd: exit 1\n    deps: [data/polygons]\n    params: [model]\n    outs: [models/pretrain]\n"
    )
    workspace.dvc_yaml.write_text(workspace.dvc_yaml.read_text() + stage)
    asked, before = PipelineParams(overrides=["model.base=nobody/none"]), workspace.params.read_text()
    with pytest.raises(ValueError, match=r"model\.base is nobody/none, which is not on this machine.*hf download"):
        pipeline(asked)
    assert workspace.params.read_text() == before
    workspace.params.write_text(before.replace("checkpoints/nano-base", "nobody/none"))
    with pytest.raises(ValueError, match=r"model\.base is nobody/none, which is not on this machine.*hf download"):
        pipeline()
    assert runs(workspace) == []


def test_a_model_of_others_that_changes_puts_evaluate_out_of_date(workspace: Workspace) -> None:
    theirs = workspace.root / "theirs" / "model.safetensors"
    theirs.parent.mkdir()
    theirs.write_bytes(b"one")
    asks = f"""\
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from simpleseg_core.config.files import load_config
from tasks.runs.code import remember_code
from tasks.runs.workspace import Workspace
here = Workspace(Path.cwd())
remember_code(here, load_config(here.params), "evaluate")
Path("data/predictions").mkdir(parents=True)
Path("data/predictions/answers").write_bytes(Path("theirs/model.safetensors").read_bytes())
"""
    (workspace.root / "asks.py").write_text(asks)
    stage = f"  evaluate:\n    cmd: {sys.executable} asks.py\n    params: [evaluate]\n    outs: [data/predictions]\n"
    workspace.dvc_yaml.write_text(f"stages:\n{stage}")
    first = pipeline(PipelineParams(overrides=["evaluate.models=[{name: theirs, kind: folder, where: theirs}]"]))
    assert outcomes(first) == outcomes(pipeline(PipelineParams(again=True))) == {"evaluate": Outcome.RAN}
    assert outcomes(pipeline()) == {"evaluate": Outcome.UNCHANGED}
    theirs.write_bytes(b"two")
    changed = pipeline()
    assert (outcomes(changed), changed.stages[0].why) == (
        {"evaluate": Outcome.RAN},
        ("weights of theirs changed",),
    )
    assert (workspace.root / "data/predictions/answers").read_bytes() == b"two"
    assert outcomes(pipeline()) == {"evaluate": Outcome.UNCHANGED}


@pytest.fixture
def sources(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of our code, what is compiled included, which the pipeline takes for its own."""
    folder = tmp_path_factory.mktemp("sources")
    for package in ("simpleseg_core", "tasks", "flows"):
        shutil.copytree(REPOSITORY / package, folder / package)
    monkeypatch.setattr(code, "__file__", str(folder / "tasks/runs/code.py"))
    code._hash.cache_clear()
    yield folder
    code._hash.cache_clear()


@pytest.mark.slow
def test_finished_shards_do_not_hide_that_code_changed_and_raises(workspace: Workspace, sources: Path) -> None:
    write_refshapes(workspace.root / "data/images", shards=2, per_shard=1)
    for name in ("detect", "segment"):
        run_stage(name, workspace.root, load_config(workspace.params))
    (workspace.root / "stage.py").write_text("from flows.cli import main\nmain()\n")
    command = f"PYTHONPATH={sources} {sys.executable} stage.py stage contour"
    settings = "params: [seed, contour]\n    deps: [data/masks]\n    outs: [data/polygons]\n"
    workspace.dvc_yaml.write_text(f"stages:\n  contour:\n    cmd: {command}\n    {settings}")
    assert outcomes(pipeline()) == {"contour": Outcome.RAN}
    with (sources / "tasks/contour.py").open("a") as file:
        file.write("\n\ndef _row(*_):\n    raise RuntimeError('broken')\n")
    code._hash.cache_clear()
    config, graph = load_config(workspace.params), read_graph(workspace)
    assert freshness(workspace, config, graph).reasons == {"contour": ["code changed: tasks.contour"]}
    with pytest.raises(StageFailedError, match="contour") as failed:
        pipeline()
    assert any("broken" in line for line in failed.value.tail)


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
