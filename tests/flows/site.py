"""Both servers of a working copy with its deployments, as `simpleseg deploy` starts them, for the tests."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from mlflow import MlflowClient

from flows.servers import Servers, running_servers
from simpleseg_core.config.files import load_config
from tasks.runs.workspace import Workspace, store_uri
from tests.tiny_pipeline import make_workspace, running, terminal

_SIMPLESEG = Path(sys.executable).with_name("simpleseg")
HTTP = httpx.Client(trust_env=False, timeout=60)


@dataclass(frozen=True)
class Site:
    """Both servers, as `simpleseg deploy` has started them, and what they hold."""

    workspace: Workspace
    environment: dict[str, str]
    servers: Servers
    deployments: dict[str, str]
    """Flow -> id."""
    experiment: str
    mlflow_run: str

    def ask(self, server: str, method: str, path: str, headers: dict[str, str], json: Any = None) -> httpx.Response:
        base = self.servers.prefect if server == "prefect" else self.servers.mlflow
        return HTTP.request(method, base + path, headers=headers, json=json)

    @property
    def key(self) -> dict[str, str]:
        return {"Authorization": self.servers.access.credentials[1]}

    def prefect(self, method: str, path: str, json: Any = None) -> Any:
        """As a program that has the key."""
        client = self.key | {"Prefect-Csrf-Client": "test"}
        token = self.ask("prefect", "GET", "/api/csrf-token?client=test", client).json()["token"]
        headers = client | {"Prefect-Csrf-Token": token}
        reply = wait_for(lambda: _unless_busy(self.ask("prefect", method, f"/api{path}", headers, json)), 60)[0]
        reply.raise_for_status()
        return reply.json() if reply.content else None

    @property
    def deployment(self) -> str:
        """That of the refresh."""
        return self.deployments["refresh"]

    def run(self, flow: str, **params: Any) -> str:
        """Ask for a run, as the page does; its id."""
        asked = {"parameters": {"params": params}}
        made = self.prefect("POST", f"/deployments/{self.deployments[flow]}/create_flow_run", asked)
        return str(made["id"])

    def state(self, run: str) -> str:
        """The type of a run's state."""
        return str(self.prefect("GET", f"/flow_runs/{run}")["state_type"])

    def started(self) -> set[str]:
        """The flow runs that no schedule has made."""
        return {run["id"] for run in self.prefect("POST", "/flow_runs/filter", {}) if not run["auto_scheduled"]}

    def links(self) -> dict[str, str]:
        """What `simpleseg ui` prints when the servers run already."""
        done = subprocess.run([_SIMPLESEG, "ui"], cwd=self.workspace.root, env=self.environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^(Prefect|MLflow) +(\S+)$", done.stdout.decode(), re.MULTILINE))


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """Start them in a new working copy; they end with the block, in order."""
    workspace = make_workspace(folder)
    # A proxy that nobody answers: what belongs to this machine must not go there.
    variables = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "http_proxy": "http://127.0.0.1:9", "NO_PROXY": "a.test"}
    printed = workspace.root / "printed"
    with printed.open("w") as output:
        with running(workspace.root, output, "deploy", "--cron", "0 3 * * *", **variables) as process:
            servers = wait_for(lambda: process.poll() is None and running_servers(workspace), 200)
            found = Site(workspace, terminal() | variables, servers, {}, *_logged(workspace))
            made = wait_for(lambda: _both(found.prefect("POST", "/deployments/filter", {})), 60)
            yield replace(found, deployments=made)
            process.send_signal(signal.SIGINT)
            assert (process.wait(60), "stopped" in printed.read_text()) == (0, True), printed.read_text()


def _both(deployments: list[dict[str, Any]]) -> dict[str, str] | None:
    """Those of `pipeline` and `refresh`, once both are there."""
    found = {each["entrypoint"].rpartition(".")[2]: each["id"] for each in deployments}
    return found if found.keys() == {"pipeline", "refresh"} else None


def _logged(workspace: Workspace) -> tuple[str, str]:
    """An experiment, and a run in it whose artifacts would script the page."""
    client = MlflowClient(store_uri(workspace, load_config(workspace.params).tracking))
    experiment = client.create_experiment("outlines", (workspace.root / "mlruns").as_uri())
    run = client.create_run(experiment).info.run_id
    for name in ("page.html", "picture.svg"):
        client.log_text(run, "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", name)
    return experiment, run


def wait_for(found: Callable[[], Any], seconds: float) -> Any:
    """What it returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
    return value


def _unless_busy(reply: httpx.Response) -> list[httpx.Response] | None:
    """Prefect asks its clients to come again while somebody else writes to SQLite."""
    return None if reply.status_code == 503 else [reply]
