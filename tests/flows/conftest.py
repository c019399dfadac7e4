"""The working copy that the tests of the flows use."""

import os
from collections.abc import Iterator

import pytest
from prefect.context import refresh_global_settings_context

from tasks.runs.workspace import Workspace


@pytest.fixture
def workspace(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The tiny working copy, as the current folder."""
    monkeypatch.chdir(workspace.root)
    return workspace


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
