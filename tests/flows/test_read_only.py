"""A working copy that takes no files: every command says so in one line, with exit code 2."""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tasks.runs.workspace import Workspace
from tests.tiny_pipeline import terminal

_DROP = 24
"""The number of prctl's PR_CAPBSET_DROP."""
_OVERRIDES = (1, 2)
"""The rights by which root writes and reads where the mode forbids it."""


@pytest.fixture
def read_only(workspace: Workspace) -> Iterator[Workspace]:
    workspace.root.chmod(0o555)
    yield workspace
    workspace.root.chmod(0o755)


def _like_any_user() -> None:
    prctl = ctypes.CDLL(None).prctl
    for right in _OVERRIDES:
        prctl(_DROP, right, 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stage", "ingest"), ".simpleseg: Permission denied; runs keep their state there: make it writable"),
        (("run", "--until", "ingest"), ".simpleseg: Permission denied"),
        (("profile", "use", "nano"), "params.yaml.tmp: Permission denied"),
        (("ui",), ".simpleseg: Permission denied"),
        (("refresh",), ".simpleseg: Permission denied"),
    ],
)
def test_a_folder_that_takes_no_files_is_named(read_only: Workspace, arguments: tuple[str, ...], said: str) -> None:
    simpleseg = Path(sys.executable).with_name("simpleseg")
    done = subprocess.run(
        [simpleseg, *arguments], cwd=read_only.root, env=terminal(), preexec_fn=_like_any_user, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stage", "ingest"), "reports: Permission denied; make it writable, or work in a copy"),
        (("annotate", "picture.png", "--phrases", "red circle", "--out", "drawn"), "drawn: Permission denied"),
    ],
)
def test_a_folder_beside_the_state_that_takes_no_files_is_named(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    workspace.make_state()
    Image.new("RGB", (64, 64), "white").save(workspace.root / "picture.png")
    workspace.root.chmod(0o555)
    simpleseg = Path(sys.executable).with_name("simpleseg")
    done = subprocess.run(
        [simpleseg, *arguments], cwd=workspace.root, env=terminal(), preexec_fn=_like_any_user, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    workspace.root.chmod(0o755)
    assert done.returncode == 2, done.stderr
    [told] = [line for line in done.stderr.splitlines() if "error:" in line]
    assert said in told and "Traceback" not in done.stderr
