"""The working copy that the tests of the flows use."""

from pathlib import Path

import pytest

from tasks.workspace import Workspace
from tests.tiny_pipeline import make_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two tiny stages, ingest and contour, under real git and real DVC; the current folder is theirs."""
    monkeypatch.chdir(tmp_path)
    return make_workspace(tmp_path)
