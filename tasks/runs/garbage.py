"""What a working copy keeps and nobody needs any more: checkpoints of other settings, versions, deleted MLflow runs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from simpleseg_core.config import TrackingConfig
from simpleseg_core.config.secrets import redact
from tasks.graph import STAGES
from tasks.runs.processes import own_environment
from tasks.runs.workspace import Workspace, store_uri

_DAY_S = 86_400
_LEFT_BY_STAGES = ("checkpoints/*", "not-finite")
"""In the work folder of a stage: the states of one setting each, and batches that were not finite."""


class GarbageError(RuntimeError):
    """DVC or MLflow could not do it; the message is theirs."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that has not been written to for long."""

    path: Path
    size: int
    """Bytes."""
    days: float
    """Since anything in it was written."""

    def remove(self) -> None:
        """Delete it."""
        if self.path.is_dir():
            rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def leftovers(workspace: Workspace, days: float) -> list[Leftover]:
    """What stages have left in their work folders and have not touched for so many days."""
    found = [_look_at(path) for stage in STAGES for path in _left_by(workspace.work(stage))]
    return [each for each in found if each.days >= days]


def collect_versions(workspace: Workspace, versions: int, *, remove: bool) -> str:
    """Drop what the last versions of every branch and every tag do not name from DVC's cache; what DVC says of it.

    Args:
        workspace: whose cache.
        versions: commits of each branch and tag, the newest first; the working copy as it is counts in any case.
        remove: really drop it; nothing that the remote lacks, where there is one.

    Raises:
        GarbageError: DVC could not do it.
    """
    which = ["--workspace", "--all-branches", "--all-tags", "--num", str(versions)]
    spare = ["--not-in-remote"] if _run(workspace, "dvc", "remote", "list").strip() else []
    return _run(workspace, "dvc", "gc", *which, *spare, "--force" if remove else "--dry")


def collect_runs(workspace: Workspace, tracking: TrackingConfig, days: int) -> str:
    """Drop the runs that were deleted in MLflow so many days ago, with their artifacts; what MLflow says of it.

    Raises:
        GarbageError: MLflow could not do it, or its store is a server's, where only the server's side can.
    """
    uri = store_uri(workspace, tracking)
    if not uri.startswith("sqlite:"):
        raise GarbageError(f"{redact(uri)}: drop deleted runs where that server runs, with `mlflow gc`")
    arguments = ("--older-than", f"{days}d", "--backend-store-uri", uri)
    return _run(workspace, "mlflow", "gc", *arguments, MLFLOW_TRACKING_URI=uri)


def _left_by(work: Path) -> Iterator[Path]:
    for pattern in _LEFT_BY_STAGES:
        yield from sorted(work.glob(pattern))


def _look_at(path: Path) -> Leftover:
    stats = [each.lstat() for each in (path, *path.rglob("*"))]
    newest = max(each.st_mtime for each in stats)
    return Leftover(path, sum(each.st_size for each in stats), (time.time() - newest) / _DAY_S)


def _run(workspace: Workspace, module: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    environment = own_environment({"NO_COLOR": "1", **variables})
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    said = os.linesep.join(part.strip() for part in (done.stdout, done.stderr) if part.strip())
    if done.returncode:
        raise GarbageError(f"{module} {arguments[0]}: {redact(said)}")
    return said
