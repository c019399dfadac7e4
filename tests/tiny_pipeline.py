"""A working copy with a pipeline of two tiny real stages, under real git and real DVC; commands that run in one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from simpleseg_core.config.files import dump_yaml, load_profile
from tasks.runs.workspace import Workspace

_DVC_YAML = f"""\
stages:
  ingest:
    cmd: {sys.executable} stage.py images
    params: [seed]
    outs:
      - data/images: {{persist: true}}
  contour:
    cmd: {sys.executable} stage.py polygons
    params: [contour]
    deps: [data/images]
    outs: [data/polygons]
    metrics:
      - reports/metrics/contour.json: {{cache: false}}
"""

_STAGE = """\
import os, pathlib, sys, time
name = sys.argv[1]
if pathlib.Path("fail").exists():
    sys.exit(int(pathlib.Path("fail").read_text()))
print("working on", name, flush=True)
while pathlib.Path("wait").exists():
    time.sleep(0.1)
folder = pathlib.Path("data") / name
folder.mkdir(parents=True, exist_ok=True)
(folder / "out.txt").write_text(name)
anew = "-anew" if os.environ.get("SIMPLESEG_ANEW") else ""
pathlib.Path("runs.log").open("a").write(name + anew + chr(10))
metrics = pathlib.Path("reports/metrics/contour.json")
metrics.parent.mkdir(parents=True, exist_ok=True)
metrics.write_text("{}")
"""


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def make_workspace(folder: Path) -> Workspace:
    """Set the working copy up in an empty folder."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (folder / ".gitignore").write_text("/data/\n/.simpleseg/\n/mlruns/\n/mlflow.db*\n")
    (folder / "dvc.yaml").write_text(_DVC_YAML)
    (folder / "stage.py").write_text(_STAGE)
    (folder / "params.yaml").write_text(dump_yaml(load_profile("nano")))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return Workspace(folder)


def runs(workspace: Workspace) -> list[str]:
    """The stages that have run, in order; with `-anew` those that were told to forget what they had finished."""
    log = workspace.root / "runs.log"
    return log.read_text().split() if log.exists() else []


def terminal() -> dict[str, str]:
    """The environment of a person who has configured nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SIMPLESEG_"))}


def running(
    folder: Path, output: IO[str], *arguments: str, **variables: str
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """`simpleseg` as a person starts it in a terminal; with the block, it and all that it started are killed."""
    command = str(Path(sys.executable).with_name("simpleseg"))
    return running_command(folder, output, command, *arguments, **variables)


@contextmanager
def running_command(
    folder: Path, output: IO[str], *command: str, **variables: str
) -> Iterator["subprocess.Popen[str]"]:
    """Any command, in the same way."""
    process = subprocess.Popen(
        command, cwd=folder, env=terminal() | variables, text=True, stdout=output, stderr=subprocess.STDOUT,
        start_new_session=True, preexec_fn=_listen_to_ctrl_c,
    )  # fmt: skip
    try:
        yield process
    finally:
        _kill(process)


def _listen_to_ctrl_c() -> None:
    """As in a terminal: a suite started in the background hands its deafness to SIGINT on to its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(process: "subprocess.Popen[str]") -> None:
    descendants = []  # the servers of `ui` have sessions of their own
    with suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in descendants:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
