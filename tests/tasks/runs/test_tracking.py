"""MLflow: parents and children, curves and pictures, lineage, and runs that go on after a crash."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from traceback import format_exception

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from simpleseg_core.contract import StageResult
from simpleseg_core.files import read_state
from simpleseg_core.metrics import HEADLINES, METRICS
from tasks.runs.kept import anything_kept
from tasks.runs.tracking import PARENT_VARIABLE, Scores, StageRun, Store, pipeline_run, runs_table, send_kept, stage_run
from tasks.runs.tracking.stage import _csv
from tasks.runs.workspace import Workspace, store_uri


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
        pipeline_run(workspace, config, "flow-1", lambda: Scores(headline)) as parent,
        _child_of(parent, monkeypatch),
        stage_run(workspace, "contour", config) as run,
    ):
        for step in range(3):
            run.tracker.metrics({"loss": 1.0 / (step + 1), "iou@0.5": step}, step)
        run.tracker.image("probe/0", np.zeros((8, 8, 3), np.uint8), 2)
        picture.write_bytes(next((run.tracker.folder / "images").iterdir()).read_bytes())
        run.tracker.page("rollouts", "<p>one</p>", 2)
        funnel = [{"filter": "detected", "dropped": 0, "kept": 8}, {"filter": "area", "dropped": 3, "kept": 5}]
        run.log_result("contour", StageResult({"kept": 5.0, "loss": 0.25}, {"funnel": funnel}, {"s": picture}))

    run_id = _run_of(workspace, "contour")
    child = client.get_run(run_id)
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent
    assert child.data.tags["dvc.stage"] == "contour"
    assert len(child.data.tags["git.commit"]) == 40
    assert child.data.tags["git.dirty"] == "false"
    assert child.data.params["contour.order"] == "clockwise"
    assert "sft.steps" not in child.data.params
    curve = {(point.step, round(point.value, 3)) for point in client.get_metric_history(run_id, "loss")}
    assert curve == {(0, 1.0), (1, 0.5), (2, 0.333), (2, 0.25)}
    assert child.data.metrics["loss"] == 0.25
    assert "iou_0.5" in child.data.metrics
    assert _artifacts(client, run_id) >= {
        "params.yaml", "tables/funnel.csv", "images/funnel.png", "images/sheet.png", "rollouts/step-000002.html",
    }  # fmt: skip
    assert any(path.startswith("images/probe~0+step+2") for path in _artifacts(client, run_id))
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
        _wait_for(lambda: client.get_run(first).info.status == "RUNNING")
        second.tracker.metrics({"loss": 1.0}, 2)
    assert _run_of(workspace, "sft") == first
    assert [point.step for point in client.get_metric_history(first, "loss")] == [1, 2]
    assert workspace.curves("sft").read_text() == "step,loss\n1,2\n2,1\n"


def test_other_settings_start_another_run(workspace: Workspace, config: Config, client: MlflowClient) -> None:
    first = _broken_off_by(RuntimeError(), workspace, config)
    assert client.get_run(first).info.status == "FAILED"
    changed = config.model_copy(update={"seed": 5})
    with stage_run(workspace, "sft", changed) as second:
        second.tracker.metrics({"loss": 1.0}, 7)
    assert _run_of(workspace, "sft") != first
    assert workspace.curves("sft").read_text() == "step,loss\n7,1\n"


def test_a_finished_stage_that_runs_again_starts_another_run(workspace: Workspace, config: Config) -> None:
    with stage_run(workspace, "sft", config):
        pass
    first = _run_of(workspace, "sft")
    with stage_run(workspace, "sft", config):
        pass
    assert _run_of(workspace, "sft") != first
    assert workspace.curves("sft").read_text() == "step\n"  # a disabled training stage still leaves the file DVC wants


def test_an_interrupted_pipeline_goes_on_in_its_parent(
    workspace: Workspace, config: Config, client: MlflowClient
) -> None:
    with suppress(KeyboardInterrupt), pipeline_run(workspace, config, None, Scores) as first:
        raise KeyboardInterrupt
    assert client.get_run(first).info.status == "KILLED"
    with suppress(RuntimeError), pipeline_run(workspace, config, None, Scores) as second:
        assert client.get_run(second).info.status == "RUNNING"
        raise RuntimeError
    assert second == first
    assert client.get_run(first).info.status == "FAILED"
    with pipeline_run(workspace, config.model_copy(update={"seed": 9}), None, Scores) as other:
        assert client.get_run(first).info.status == "KILLED"
    with pipeline_run(workspace, config, None, Scores) as third:
        pass
    assert len({first, other, third}) == 3


def test_many_metrics_do_not_hold_the_stage_up(workspace: Workspace, config: Config, client: MlflowClient) -> None:
    with stage_run(workspace, "rl", config) as run:
        for step in range(1500):
            run.tracker.metrics({"a": step, "b": -step}, step)
    assert [point.value for point in client.get_metric_history(_run_of(workspace, "rl"), "b")] == [
        -step for step in range(1500)
    ]


def test_points_that_mlflow_refused_are_sent_later(
    workspace: Workspace, config: Config, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage_run(workspace, "sft", config) as run:
        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, "log_batch", _refuse)
            run.tracker.metrics({"loss": 1.0}, 1)
            time.sleep(2.5)  # the shipper tries every two seconds
        run.tracker.metrics({"loss": 0.5}, 2)
    assert [point.step for point in client.get_metric_history(_run_of(workspace, "sft"), "loss")] == [1, 2]


@pytest.mark.parametrize("left", [0, 40])
def test_a_picture_that_a_crash_left_half_written_holds_up_nothing_behind_it(
    workspace: Workspace, config: Config, client: MlflowClient, left: int
) -> None:
    with stage_run(workspace, "sft", config) as run:
        run.tracker.append({"step": 1, "image": "probe", "file": "half.png"})
        file = run.tracker.picture("half.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
        file.write_bytes(file.read_bytes()[:left])
        run.tracker.metrics({"loss": 0.5}, 2)
    assert not anything_kept(workspace)
    found = client.get_run(_run_of(workspace, "sft"))
    assert (found.data.metrics["loss"], found.info.status) == (0.5, "FINISHED")


def test_a_store_that_cannot_be_used_is_named(workspace: Workspace, config: Config) -> None:
    tracking = config.tracking.model_copy(update={"uri": "nonsense://x"})
    with pytest.raises(ValueError, match=r"tracking\.uri is 'nonsense://x'"):
        Store.open(workspace, tracking)


def test_the_default_store_lies_in_the_working_copy(workspace: Workspace) -> None:
    assert store_uri(workspace, Config().tracking) == f"sqlite:///{workspace.root}/mlflow.db"


def test_state_of_a_run_says_whether_it_goes_on(workspace: Workspace, config: Config) -> None:
    with stage_run(workspace, "sft", config):
        assert read_state(workspace.tracking("sft") / "run.json")["status"] == "running"
    assert read_state(workspace.tracking("sft") / "run.json")["status"] == "finished"


def _broken_off_by(error: BaseException, workspace: Workspace, config: Config) -> str:
    """The id of an SFT run that reported one point and then met an error."""
    with suppress(type(error)), stage_run(workspace, "sft", config) as run:
        run.tracker.metrics({"loss": 2.0}, 1)
        raise error
    return _run_of(workspace, "sft")


def _run_of(workspace: Workspace, stage: str) -> str:
    return str(read_state(workspace.tracking(stage) / "sent.json")["run_id"])


def _wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


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


def test_a_store_that_cannot_be_used_is_named_without_its_password(
    workspace: Workspace, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://robot:hunter2@127.0.0.1/db")
    with pytest.raises(ValueError, match=r"nonsense://\*\*\*@127.0.0.1/db") as error:
        Store.open(workspace, config.tracking)
    assert "hunter2" not in "".join(format_exception(error.value))


def test_the_environment_comes_before_the_configuration(
    workspace: Workspace, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    assert store_uri(workspace, config.tracking) == f"sqlite:///{workspace.root}/elsewhere.db"


def test_texts_of_a_table_are_neither_formulas_nor_control_characters() -> None:
    rows = [{"status": '=HYPERLINK("http://evil")', "rows": -3}, {"status": "\x1b[31m,ok", "rows": 2}]
    assert _csv(rows).splitlines() == ["status,rows", '"\'=HYPERLINK(""http://evil"")",-3', '"\\x1b[31m,ok",2']


def test_names_tell_pipeline_runs_apart(workspace: Workspace, config: Config, client: MlflowClient) -> None:
    loose = config.model_copy(update={"contour": config.contour.model_copy(update={"tolerance": 0.05})})
    reached = {"sft/refshapes/val/giou": 60.1, "rl/refshapes/val/giou": 71.4, "rl/refshapes/testA/giou": 80.0}
    with pipeline_run(workspace, loose, None, lambda: Scores(reached)) as run:
        assert client.get_run(run).info.run_name == "nano, contour.tolerance=0.05"
    ended = client.get_run(run)
    assert ended.info.run_name.endswith(": 71.4 gIoU")
    assert ended.data.tags["simpleseg.results"] == "current"


def test_scores_of_an_earlier_run_are_not_those_of_this_one(
    workspace: Workspace, config: Config, client: MlflowClient
) -> None:
    with pipeline_run(workspace, config, None, lambda: Scores(stale=("sft: data/dataset changed",))) as run:
        pass
    ended = client.get_run(run)
    assert not any(name.endswith("giou") for name in ended.data.metrics)
    assert ended.data.tags["simpleseg.results"] == "stale: sft: data/dataset changed"
    assert "gIoU" not in ended.info.run_name


def test_the_page_of_runs_has_a_column_for_each_headline(workspace: Workspace, config: Config) -> None:
    store = Store.open(workspace, config.tracking)
    plain = runs_table(store)
    assert plain == f"#/experiments/{store.experiment}/runs?workflowType=machine_learning"
    store.show_columns([f"rl/refshapes/val/{name}" for name in METRICS])
    [view] = [text for key, text in store.client.get_experiment(store.experiment).tags.items() if "View" in key]
    shown = [name for name in json.loads(view)["selectedColumns"] if name.startswith("metrics.")]
    percentages = [name for name, metric in HEADLINES.items() if metric.unit == "%"]
    assert shown == [f"metrics.`rl/refshapes/val/{name}`" for name in percentages]
    assert runs_table(store) == f"{plain}&viewStateShareKey=headline"


def _garbage(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 100])


@pytest.fixture
def own_store(workspace: Workspace, config: Config, store: Path) -> Config:
    """With a database of its own, a copy of one that is whole."""
    Store.open(workspace, config.tracking)
    shutil.copy(store / "mlflow.db", workspace.root / "mlflow.db")
    tracking = config.tracking.model_copy(update={"uri": "sqlite:///mlflow.db"})
    return config.model_copy(update={"tracking": tracking})


@pytest.mark.parametrize("damage", [_garbage, _truncated])
def test_a_damaged_store_holds_nothing_up_and_gets_all_once_it_is_mended(
    workspace: Workspace, own_store: Config, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    file = workspace.root / "mlflow.db"
    whole = file.read_bytes()
    damage(file)
    for loss in (2.0, 1.0):  # the first is set aside for the second
        with pipeline_run(workspace, own_store, None, Scores) as parent, stage_run(workspace, "sft", own_store) as run:
            assert parent == ""
            _report_all(workspace, run, loss)
    assert all(said.exc_info is None for said in caplog.records)
    assert "mlflow.db cannot be used" in caplog.text and "move it away" in caplog.text
    file.write_bytes(whole)
    send_kept(workspace, own_store)
    assert _runs_with_all(workspace, own_store) == {2.0, 1.0}
    assert not anything_kept(workspace)


def test_a_locked_store_holds_nothing_up_and_gets_all_with_the_next_run(
    workspace: Workspace, own_store: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(workspace.root / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with stage_run(workspace, "sft", own_store) as run:
            _report_all(workspace, run, 2.0)
    assert "mlflow.db is locked by another program" in caplog.text
    with pipeline_run(workspace, own_store, None, Scores) as parent:
        assert parent
        assert _runs_with_all(workspace, own_store) == {2.0}


def _report_all(workspace: Workspace, run: StageRun, loss: float) -> None:
    picture = workspace.root / "sheet.png"
    Image.new("RGB", (8, 8)).save(picture)
    run.tracker.metrics({"loss": loss}, 1)
    run.tracker.image("probe", np.zeros((8, 8, 3), np.uint8), 1)
    run.log_result("sft", StageResult({"end": loss}, {"rows": [{"a": 1}]}, {"sheet": picture}))


def _runs_with_all(workspace: Workspace, config: Config) -> set[float]:
    """The losses of finished SFT runs that MLflow has points, headline, table and pictures of."""
    store = Store.open(workspace, config.tracking)
    found = [run for run in store.client.search_runs([store.experiment]) if run.info.run_name == "sft"]
    for run in found:
        artifacts = _artifacts(store.client, run.info.run_id)
        assert artifacts >= {"params.yaml", "tables/rows.csv", "images/sheet.png"}
        assert any(name.startswith("images/probe") for name in artifacts)
        assert (run.info.status, run.data.metrics["end"]) == ("FINISHED", run.data.metrics["loss"])
    return {run.data.metrics["loss"] for run in found}
