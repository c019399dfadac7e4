"""A working copy with a pipeline of two tiny real stages, under real git and real DVC."""

import subprocess
import sys
from pathlib import Path

from simpleseg_core.config.files import dump_yaml, load_profile
from tasks.workspace import Workspace

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
import pathlib, sys, time
name = sys.argv[1]
if pathlib.Path("fail").exists():
    sys.exit(int(pathlib.Path("fail").read_text()))
print("working on", name, flush=True)
while pathlib.Path("wait").exists():
    time.sleep(0.1)
folder = pathlib.Path("data") / name
folder.mkdir(parents=True, exist_ok=True)
(folder / "out.txt").write_text(name)
pathlib.Path("runs.log").open("a").write(name + chr(10))
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
    """The stages that have run, in order."""
    log = workspace.root / "runs.log"
    return log.read_text().split() if log.exists() else []
