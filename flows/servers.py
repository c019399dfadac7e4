"""The Prefect and MLflow servers of a working copy: starting them for people, finding them for runs."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

import psutil

from simpleseg_core.config import TrackingConfig
from simpleseg_core.files import read_state, write_json
from tasks.processes import is_alive, own_environment, stop_tree
from tasks.workspace import Workspace, store_uri

_HOST = "127.0.0.1"
_OWN_PREFECT = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")
_TEMPORARY = "prefect.server.api.server:create_app"
"""In the command line of the server that Prefect starts for one process."""
_OWNER = "SIMPLESEG_OWNER_PID"
"""Tells such a server, through its environment, whose it is."""
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the pages are."""

    prefect: str
    mlflow: str


def use_prefect_of(workspace: Workspace) -> str | None:
    """Choose the Prefect server of this process, before Prefect is imported; returns its address if it has one.

    The user's own if one is configured, else that of `simpleseg ui`, else a temporary one on the same database.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the terminal has its own display
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", str(int(_START_S)))
    stop_orphans()
    os.environ[_OWNER] = str(os.getpid())
    if own_prefect():
        return _configured_server()
    workspace.prefect_home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(workspace.prefect_home)
    if servers := running_servers(workspace):
        os.environ["PREFECT_API_URL"] = f"{servers.prefect}/api"
        return servers.prefect
    return None


def own_prefect() -> bool:
    """Whether the environment says which Prefect to use; only before `use_prefect_of` has chosen one."""
    return any(variable in os.environ for variable in _OWN_PREFECT)


def _configured_server() -> str | None:
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def stop_orphans() -> list[int]:
    """End the temporary Prefect servers of our runs that were killed; returns their process ids."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if _TEMPORARY not in (process.info["cmdline"] or ()):
                continue
            owner = process.environ().get(_OWNER, "")
            if owner.isdigit() and not is_alive(int(owner)):
                process.kill()
                found.append(process.pid)
    return found


def running_servers(workspace: Workspace) -> Servers | None:
    """The servers that `simpleseg ui` has started here, if they answer."""
    state = read_state(workspace.ui_state)
    try:
        servers = Servers(str(state["prefect"]), str(state["mlflow"]))
    except KeyError:
        return None
    return servers if _answers(f"{servers.prefect}/api/health") else None


@contextmanager
def serve(workspace: Workspace, tracking: TrackingConfig, ports: tuple[int, int], stop: Event) -> Iterator[Servers]:
    """Both servers on loopback while the context lasts; a port that is taken gives way to a free one.

    Args:
        workspace: whose runs they show.
        tracking: where MLflow's runs are.
        ports: wanted by Prefect and by MLflow.
        stop: set while they start: wait no longer.

    Raises:
        RuntimeError: a server ended, or did not answer in two minutes.
    """
    prefect_port, mlflow_port = free_port(ports[0]), free_port(ports[1])
    servers = Servers(f"http://{_HOST}:{prefect_port}", f"http://{_HOST}:{mlflow_port}")
    environment = own_environment({
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(workspace.prefect_home)),
        "PREFECT_UI_API_URL": f"{servers.prefect}/api",
    })  # fmt: skip
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)]
    store = store_uri(workspace, tracking)
    mlflow = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--host",
        _HOST,
        "--port",
        str(mlflow_port),
        "--backend-store-uri",
        store,
        "--workers",
        "1",
    ]
    processes = [
        _start(workspace, "prefect", prefect, environment),
        _start(workspace, "mlflow", mlflow, environment),
    ]
    try:
        _wait(f"{servers.prefect}/api/health", processes[0], workspace.state / "prefect.log", stop)
        _wait(f"{servers.mlflow}/health", processes[1], workspace.state / "mlflow.log", stop)
        write_json(workspace.ui_state, {**asdict(servers), "pid": os.getpid()})
        yield servers
    finally:
        workspace.ui_state.unlink(missing_ok=True)
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            stop_tree(process.pid)


def free_port(wanted: int) -> int:
    """The port, or another one where it is taken."""
    for port in (wanted, 0):
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no free port on loopback")


def _start(
    workspace: Workspace, name: str, command: list[str], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    workspace.state.mkdir(parents=True, exist_ok=True)
    with (workspace.state / f"{name}.log").open("wb") as log:
        # Its own session: the terminal's Ctrl-C reaches `simpleseg ui` alone, which then stops both in order.
        return subprocess.Popen(
            command, cwd=workspace.root, env=dict(environment), stdout=log, stderr=log, start_new_session=True
        )


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, stop: Event) -> None:
    deadline = time.monotonic() + _START_S
    while not _answers(url) and not stop.is_set():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer; see {log}")
        stop.wait(0.3)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 (our own loopback address)
            return bool(reply.status == 200)
    except (OSError, ValueError):
        return False
