"""DVC as the pipeline uses it: what is stale and why, one stage at a time, failures, and the locks of the dead."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from simpleseg_core.config.evaluation import TrainedStage
from simpleseg_core.config.files import dump_yaml, load_config
from tasks.graph import STAGES
from tasks.runs.data_version import (
    DvcError,
    Graph,
    Outcome,
    StageFailedError,
    cure_stale_locks,
    dvc_status,
    read_graph,
    reproduce,
)
from tasks.runs.workspace import Workspace
from tests.tiny_pipeline import runs


def test_dvc_yaml_and_the_graph_of_the_core_are_one(repository: Path) -> None:
    import yaml

    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    assert list(stages) == list(STAGES)
    for name, spec in STAGES.items():
        stage = stages[name]
        assert stage["cmd"] == f"simpleseg stage {name}"
        assert tuple(stage["params"]) == spec.params
        shipped = {"checkpoints/nano-base/model.safetensors"} if name == "pretrain" else set()
        assert set(stage.get("deps", ())) - shipped == {str(path) for path in spec.dependencies.values()}
        written = {path for kind in ("outs", "metrics") for path in _paths(stage[kind])}
        assert written == {str(path) for path in spec.outputs.values()} | {f"reports/metrics/{name}.json"}
        curves = {f"reports/curves/{name}.csv"} if spec.trains else set()
        assert set(_paths(stage.get("plots", ()))) == curves


def test_every_trained_model_can_be_put_under_test() -> None:
    trained = {name: spec.outputs["model"] for name, spec in STAGES.items() if spec.trains}
    assert set(get_args(TrainedStage)) == trained.keys()
    assert trained.items() <= STAGES["evaluate"].inputs.items()


def test_all_outputs_but_the_images_of_the_web_can_be_brought_back_by_dvc(repository: Path) -> None:
    import yaml

    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    kept = {
        path
        for stage in stages.values()
        for out in stage["outs"]
        if isinstance(out, dict)
        for path, options in out.items()
        if options.get("persist")
    }
    assert kept == {"data/images"}, "DVC's run cache holds no stage with such an output"
    assert [name for name, spec in STAGES.items() if spec.resumes] == [
        "detect", "segment", "contour", "describe", "evaluate"
    ], "what goes on part by part works beside its outputs"  # fmt: skip


def test_stages_come_in_an_order_in_which_they_can_run(repository: Path) -> None:
    graph = read_graph(Workspace(repository))
    seen: set[str] = set()
    for name, upstream in graph.upstream.items():
        assert seen.issuperset(upstream)
        seen.add(name)
    assert graph.between(None, "contour") == ["ingest", "detect", "segment", "contour"]
    assert graph.between("sft", "rl") == ["sft", "rl"]
    assert graph.between("evaluate", None) == ["evaluate", "report"]


def test_a_range_that_leads_nowhere_is_refused() -> None:
    graph = Graph({"a": (), "b": ("a",), "c": ("a",)})
    with pytest.raises(ValueError, match="nothing leads from b to a"):
        graph.between("b", "a")
    with pytest.raises(ValueError, match="no stage 'x': choose one of a, b, c"):
        graph.between("x", None)
    with pytest.raises(ValueError, match="no stage 'contuor', did you mean `contour`"):
        Graph({"ingest": (), "contour": ("ingest",)}).between("contuor", None)


def test_stages_that_wait_for_each_other_are_refused(workspace: Workspace) -> None:
    workspace.dvc_yaml.write_text("stages:\n  a: {cmd: x, deps: [p], outs: [q]}\n  b: {cmd: x, deps: [q], outs: [p]}\n")
    with pytest.raises(DvcError, match="a, b wait for each other"):
        read_graph(workspace)


def test_only_what_changed_runs_and_the_reason_names_both_values(workspace: Workspace) -> None:
    assert dvc_status(workspace) == {"ingest": ["it has not run yet"], "contour": ["it has not run yet"]}
    lines: list[str] = []
    assert reproduce(workspace, "ingest", {}, lines.append) is Outcome.RAN
    assert reproduce(workspace, "contour", {}, lines.append) is Outcome.RAN
    assert "working on polygons" in lines
    assert not any("git add" in line for line in lines)
    assert dvc_status(workspace) == {}

    workspace.params.write_text(dump_yaml(load_config(workspace.params, ["contour.tolerance=0.4"])))
    [reason] = dvc_status(workspace)["contour"]
    assert reason.startswith("contour.tolerance: ")
    assert reason.endswith("-> 0.4")
    assert reproduce(workspace, "ingest", {}, lines.append) is Outcome.UNCHANGED
    assert reproduce(workspace, "contour", {}, lines.append) is Outcome.RAN
    assert runs(workspace) == ["images", "polygons", "polygons"]


def test_a_failing_stage_tells_its_exit_code_and_its_last_lines(workspace: Workspace) -> None:
    (workspace.root / "fail").write_text("2")
    with pytest.raises(StageFailedError) as error:
        reproduce(workspace, "ingest", {}, lambda line: None)
    assert (error.value.stage, error.value.exit_code) == ("ingest", 2)
    assert any("failed to" in line for line in error.value.tail)


def test_an_interrupted_stage_leaves_no_process_and_no_lock(workspace: Workspace) -> None:
    (workspace.root / "wait").touch()
    seen: list[int] = []

    def interrupt(line: str) -> None:
        if line == "working on images":
            seen.extend(_processes_in(workspace.root))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(workspace, "ingest", {}, interrupt)
    assert seen
    assert _processes_in(workspace.root) == []
    (workspace.root / "wait").unlink()
    assert reproduce(workspace, "ingest", {}, lambda line: None) is Outcome.RAN


def test_locks_of_dead_processes_are_removed(workspace: Workspace) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    _lock(workspace, dead.pid)
    [cured] = cure_stale_locks(workspace)
    assert str(dead.pid) in cured
    assert cure_stale_locks(workspace) == []
    assert reproduce(workspace, "ingest", {}, lambda line: None) is Outcome.RAN


def test_half_a_lock_file_is_removed(workspace: Workspace) -> None:
    workspace.dvc_tmp.mkdir(parents=True)
    (workspace.dvc_tmp / "rwlock").write_text('{"write": {"')
    assert cure_stale_locks(workspace) == ["an unreadable lock file"]
    assert reproduce(workspace, "ingest", {}, lambda line: None) is Outcome.RAN


def test_the_lock_of_a_living_process_is_respected(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runs.data_version._LOCK_PATIENCE_S", 0.1)
    _lock(workspace, os.getpid())
    with pytest.raises(DvcError, match=f"process {os.getpid()}"):
        cure_stale_locks(workspace)


def test_dvc_s_own_fault_is_told(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(DvcError, match="not inside of a DVC repository"):
        dvc_status(Workspace(tmp_path))


def _lock(workspace: Workspace, pid: int) -> None:
    workspace.dvc_tmp.mkdir(parents=True, exist_ok=True)
    locks = {"write": {str(workspace.root / "data" / "images"): {"pid": pid, "cmd": "dvc repro"}}, "read": {}}
    (workspace.dvc_tmp / "rwlock").write_text(json.dumps(locks))


def _processes_in(folder: Path) -> list[int]:
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def _paths(entries: list[object]) -> set[str]:
    return {next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in entries}
