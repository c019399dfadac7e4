"""Which code a result was made with: the one place where git is asked."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_RESULTS = (":(exclude)dvc.lock", ":(exclude)params.yaml", ":(exclude)reports")


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit of a working copy."""

    hash: str
    dirty: bool
    """Whether tracked files have changed since; results of runs and their settings do not count."""

    def __str__(self) -> str:
        return self.hash[:9] + ("+" if self.dirty else "")


def commit_of(folder: Path) -> Commit | None:
    """The commit of a folder; None where there is no git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *_RESULTS)
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(commit, bool(changed))


def _git(folder: Path, *command: str) -> str:
    return subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
