"""`kill -9` of a stage, or of what has called it, while Ray is up: no process, no folder, no shared memory is left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.runs.workspace import Workspace
from tests.tiny_pipeline import running_command

pytestmark = pytest.mark.timeout(600)

_STAGE = """
import json, os, time
from pathlib import Path
import tasks.runs.stage
from simpleseg_core.contract import StageResult
from simpleseg_core.family import scratch_folder
from simpleseg_core.ray_session import ray_session
from tasks.runs.workspace import Workspace

def contour(config, inputs, outputs, context):
    import ray

    class Actor:
        def work(self):
            with scratch_folder(in_memory=True) as folder:
                (folder / "weights").write_bytes(bytes(1 << 20))
                Path("worker.json").write_text(json.dumps([os.getpid(), str(folder)]))
                time.sleep(600)

    with ray_session(config.ray), scratch_folder(in_memory=True) as folder:
        work = ray.remote(num_cpus=1)(Actor).remote().work.remote()
        while not Path("worker.json").exists():
            time.sleep(0.1)
        worker = json.loads(Path("worker.json").read_text())
        session = ray._private.worker._global_node.get_session_dir_path()
        state = {"pids": [os.getpid(), worker[0]], "folders": [session, str(folder), worker[1]]}
        Path("up.tmp").write_text(json.dumps(state))
        Path("up.tmp").replace("up.json")
        ray.get(work)
    return StageResult()

tasks.runs.stage.load_stage = lambda name: contour
tasks.runs.stage.run_stage(Workspace.find(), "contour")
"""


@pytest.fixture
def one_stage(workspace: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A working copy whose one stage, contour, starts Ray and holds weights in shared memory until it is killed."""
    (workspace.root / "stage.py").write_text(_STAGE)
    (workspace.root / "data" / "masks").mkdir(parents=True)
    command = f"{sys.executable} stage.py"
    workspace.dvc_yaml.write_text(f"stages: {{contour: {{cmd: '{command}', params: [seed], outs: [data/polygons]}}}}\n")
    settings = workspace.params.read_text().replace("system_metrics: true", "system_metrics: false")
    workspace.params.write_text(settings)
    for name in [name for name in os.environ if name.startswith(("SIMPLESEG_", "DVC_", "RAY_TMPDIR"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    return workspace


def _the_stage_itself(tree: Sequence[psutil.Process]) -> psutil.Process:
    return next(each for each in tree if each.cmdline()[1:] == ["stage.py"])


def _the_command(tree: Sequence[psutil.Process]) -> psutil.Process:
    return tree[0]


@pytest.mark.parametrize(
    ("command", "victim"),
    [
        ([sys.executable, "stage.py"], _the_stage_itself),
        pytest.param([str(Path(sys.executable).with_name("simpleseg")), "run"], _the_command, marks=pytest.mark.slow),
    ],
    ids=["stage", "run"],
)
def test_nothing_outlives_a_kill(
    one_stage: Workspace, command: list[str], victim: Callable[[Sequence[psutil.Process]], psutil.Process]
) -> None:
    with (one_stage.root / "said").open("w") as said, running_command(one_stage.root, said, *command) as process:
        state = _wait_until_up(one_stage.root, process)
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        assert {"ray::DashboardAgent", "ray::RuntimeEnvAgent"} <= {" ".join(each.cmdline()).strip() for each in tree}
        assert {each.pid for each in tree} >= set(state["pids"])
        assert all(Path(folder).is_dir() for folder in state["folders"])
        victim(tree).kill()
        process.wait(30)
        deadline = time.monotonic() + 60
        while (left := _left(tree, state)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []


_WITHOUT_RAY = """
import json, os, time
from pathlib import Path
from simpleseg_core.family import found_family
from tasks.runs.processes import callers

found_family(*callers())
Path("up.tmp").write_text(json.dumps({"pids": [os.getpid()], "folders": []}))
Path("up.tmp").replace("up.json")
time.sleep(600)
"""


def test_a_stage_does_not_outlive_its_dvc(one_stage: Workspace) -> None:
    (one_stage.root / "stage.py").write_text(_WITHOUT_RAY)
    command = [sys.executable, "-m", "dvc", "repro", "contour"]
    with (one_stage.root / "said").open("w") as said, running_command(one_stage.root, said, *command) as dvc:
        state = _wait_until_up(one_stage.root, dvc)
        stage = psutil.Process(state["pids"][0])
        dvc.kill()
        dvc.wait(30)
        psutil.wait_procs([stage], timeout=30)
        assert not stage.is_running()


def _wait_until_up(folder: Path, process: "subprocess.Popen[str]") -> dict[str, Any]:
    deadline = time.monotonic() + 200
    while not (folder / "up.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, (folder / "said").read_text()
        time.sleep(0.1)
    state: dict[str, Any] = json.loads((folder / "up.json").read_text())
    return state


def _left(tree: Sequence[psutil.Process], state: dict[str, Any]) -> list[str]:
    folders = [folder for folder in state["folders"] if Path(folder).exists()]
    return folders + [str(each) for each in tree if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
