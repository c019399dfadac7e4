"""The working copy that the tests of the tasks use."""

from pathlib import Path

import pytest

from tasks.workspace import Workspace
from tests.tiny_pipeline import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two tiny stages, ingest and contour, under real git and real DVC."""
    return make_workspace(tmp_path)
