"""Where a stage writes: work that a killed run continues lies beside DVC's outputs, which DVC deletes before a run.

So those outputs need no `persist`, and DVC's run cache can hold them: going back to earlier settings costs nothing.
"""

import shutil
from pathlib import Path

from tasks.graph import STAGES
from tasks.runs.workspace import Workspace


def working_outputs(workspace: Workspace, stage: str) -> dict[str, Path]:
    """Role -> where the stage writes."""
    spec = STAGES[stage]
    return {role: _aside(workspace, stage, role) if spec.resumes else path for role, path in spec.outputs.items()}


def publish(workspace: Workspace, stage: str) -> None:
    """Make the outputs what the stage has written."""
    if STAGES[stage].resumes:
        for role, path in STAGES[stage].outputs.items():
            _mirror(_aside(workspace, stage, role), workspace.root / path)


def seed(workspace: Workspace, stage: str) -> None:
    """Give a stage that has no work of its own here what its outputs hold (a fresh clone after `dvc pull`)."""
    if STAGES[stage].resumes:
        for role, path in STAGES[stage].outputs.items():
            if not _aside(workspace, stage, role).exists() and (workspace.root / path).exists():
                _mirror(workspace.root / path, _aside(workspace, stage, role))


def discard(workspace: Workspace, stage: str) -> None:
    """Forget all that the stage has done: the next run starts from nothing."""
    for path in (*map(workspace.root.joinpath, STAGES[stage].outputs.values()), workspace.work(stage)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def discard_finished(workspace: Workspace, stage: str) -> None:
    """Forget the finished parts of a stage that goes on from those; a training keeps its checkpoints."""
    if STAGES[stage].resumes:
        discard(workspace, stage)


def _aside(workspace: Workspace, stage: str, role: str) -> Path:
    return workspace.work(stage) / "out" / role


def _mirror(source: Path, target: Path) -> None:
    """Replace a folder by one with the same files."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)  # no links: DVC makes the files of its cache read-only
