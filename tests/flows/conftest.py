"""The working copy that the tests of the flows use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.context import refresh_global_settings_context

from tasks.workspace import Workspace
from tests.tiny_pipeline import make_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two tiny stages, ingest and contour, under real git and real DVC; the current folder is theirs."""
    monkeypatch.chdir(tmp_path)
    return make_workspace(tmp_path)


@pytest.fixture
def no_prefect() -> Iterator[None]:
    """No Prefect is configured, and what a command sets in the environment does not outlive the test."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("PREFECT_", "SIMPLESEG_"))]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)
    refresh_global_settings_context()
