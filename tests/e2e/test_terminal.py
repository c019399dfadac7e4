"""What a person at a terminal does besides waiting: Ctrl-C, and looking at the pages."""

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from simpleseg_core.files import read_state
from tasks.runs.workspace import Workspace
from tests.tiny_pipeline import running, runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def started(workspace: Workspace, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    with (workspace.root / "said.log").open("w") as output, running(workspace.root, output, *arguments) as process:
        yield process


def said(workspace: Workspace) -> str:
    return (workspace.root / "said.log").read_text()


def wait_for(happened: Callable[[], bool], process: "subprocess.Popen[str]", workspace: Workspace) -> None:
    while not happened():
        assert process.poll() is None, said(workspace)
        time.sleep(0.1)


def test_ctrl_c_stops_the_stage_and_the_next_run_goes_on(workspace: Workspace) -> None:
    (workspace.root / "wait").touch()
    with started(workspace, "run") as process:
        wait_for(lambda: "working on images" in said(workspace), process, workspace)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130, said(workspace)
    assert "`simpleseg run` goes on where this stopped" in " ".join(said(workspace).split())
    assert runs(workspace) == []
    (workspace.root / "wait").unlink()
    with started(workspace, "run") as process:
        assert process.wait() == 0, said(workspace)
    assert runs(workspace) == ["images", "polygons"]


def test_a_stage_that_refuses_its_input_ends_the_run_with_that_line(workspace: Workspace) -> None:
    (workspace.root / "fail").write_text("2")
    with started(workspace, "run") as process:
        assert process.wait() == 2, said(workspace)
    assert "error: ingest: " in said(workspace)


def test_the_pages_are_served_and_a_run_appears_there(workspace: Workspace) -> None:
    with started(workspace, "ui") as servers:
        wait_for(lambda: "prefect" in read_state(workspace.ui_state), servers, workspace)
        state = read_state(workspace.ui_state)
        assert "MLflow" in _page(state, "mlflow")
        assert "Prefect" in _page(state, "prefect")
        with (workspace.root / "run.log").open("w") as log, running(workspace.root, log, "run") as run:
            assert run.wait() == 0, (workspace.root / "run.log").read_text()
        flows = json.loads(_page(state, "prefect", "/api/flow_runs/filter", b"{}"))
        assert [flow["state_name"] for flow in flows] == ["Completed"]
        servers.send_signal(signal.SIGINT)
        assert servers.wait() == 0, said(workspace)
    assert not workspace.ui_state.exists()
    with pytest.raises(OSError, match="refused"):
        _page(state, "mlflow")


def _page(state: Mapping[str, Any], server: str, path: str = "", body: bytes | None = None) -> str:
    """What a server of ours answers to a program that has the key."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {state['key']}"}
    if body is not None:  # what writes needs Prefect's token against forged requests, too
        token = json.loads(_page(state, server, "/api/csrf-token?client=tester"))["token"]
        headers |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "tester"}
    request = urllib.request.Request(f"{state[server]}{path}", body, headers)  # noqa: S310 (loopback)
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        return str(reply.read().decode())
