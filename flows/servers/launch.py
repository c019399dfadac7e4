"""Starting servers: each in a process of its own, on a socket that we open, behind the guard."""

import errno
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

from flows.servers.access import Access
from flows.servers.apps import MLFLOW_STORE
from simpleseg_core.config import TrackingConfig
from simpleseg_core.environment import bypass_proxies
from simpleseg_core.files import write_private_json
from tasks.runs.processes import own_environment, stop_tree
from tasks.runs.workspace import Workspace, store_uri

LOOPBACK = "127.0.0.1"
START_S = 120.0


class ServerError(Exception):
    """A server of ours ended, or does not answer."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the pages are, and the key to them."""

    prefect: str
    mlflow: str
    access: Access

    @property
    def links(self) -> dict[str, str]:
        """What a person opens, once each."""
        return {
            "Prefect": self.access.link(self.prefect, "prefect"),
            "MLflow": self.access.link(self.mlflow, "mlflow"),
        }


@dataclass(frozen=True, slots=True)
class Page:
    """A server to start."""

    name: str
    factory: str
    """`module:function` that makes the ASGI application."""
    health: str
    """A path that is answered with 200 once it is ready."""
    socket: socket.socket
    url: str
    environment: Mapping[str, str]


@contextmanager
def serve(
    workspace: Workspace,
    tracking: TrackingConfig,
    ports: tuple[int, int],
    stop: Event,
    *,
    host: str = LOOPBACK,
    names: Sequence[str] = (),
) -> Iterator[Servers]:
    """Both servers while the context lasts; a port that is taken gives way to a free one.

    Args:
        workspace: whose runs they show.
        tracking: where MLflow's runs are.
        ports: wanted by Prefect and by MLflow.
        stop: set while they start: wait no longer.
        host: the address to listen on.
        names: further host names by which browsers open the pages.

    Raises:
        ValueError: the host is no address of this machine.
        ServerError: a server ended, or did not answer in two minutes.
    """
    access = Access.new(bracketed(host), *names)
    bypass_proxies(host)
    pages = (
        _prefect(workspace, listen(host, ports[0])),
        mlflow_page(workspace, tracking, listen(host, ports[1]), access),
    )
    with started(workspace, access, pages, stop):
        servers = Servers(pages[0].url, pages[1].url, access)
        state = {"prefect": servers.prefect, "mlflow": servers.mlflow, "key": access.key, "pid": os.getpid()}
        write_private_json(workspace.ui_state, state)
        try:
            yield servers
        finally:
            workspace.ui_state.unlink(missing_ok=True)


def _prefect(workspace: Workspace, opened: socket.socket) -> Page:
    url = address(opened)
    environment = {
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(workspace.prefect_home)),
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT__SERVER_FINAL": "1",
    }
    return Page("prefect", "flows.servers.apps:prefect", "/api/health", opened, url, environment)


def temporary_prefect(opened: socket.socket) -> Page:
    """A server for the runs of one process: no page, no schedules."""
    url = address(opened)
    environment = {
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    return Page("temporary-prefect", "flows.servers.apps:prefect", "/api/health", opened, url, environment)


def mlflow_page(workspace: Workspace, tracking: TrackingConfig, opened: socket.socket, access: Access) -> Page:
    """MLflow on a socket, as its users open it."""
    url = address(opened)
    environment = {
        MLFLOW_STORE: store_uri(workspace, tracking),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(
            pattern for name in access.names for pattern in (name, f"{name.replace('[', '[[]')}:*")
        ),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": url,
    }
    return Page("mlflow", "flows.servers.apps:mlflow", "/health", opened, url, environment)


@contextmanager
def started(workspace: Workspace, access: Access, pages: Sequence[Page], stop: Event) -> Iterator[None]:
    """Servers that are up when the block begins, and end with it, or with this process, however that ends.

    Raises:
        ServerError: a server ended, or did not answer in two minutes.
    """
    workspace.make_state()
    processes = [_start(workspace, page, access) for page in pages]
    try:
        for page, process in zip(pages, processes, strict=True):
            _wait(page, access, process, _log(workspace, page), stop)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            stop_tree(process.pid)


def listen(host: str, port: int) -> socket.socket:
    """An open socket on the port, or on a free one where it is taken.

    Raises:
        ValueError: the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(f"{host} is no address of this machine") from None
        return socket.create_server((host, 0), family=family, backlog=256)


def address(opened: socket.socket) -> str:
    """The URL of a socket."""
    host, port = opened.getsockname()[:2]
    return f"http://{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def answers(url: str, access: Access) -> bool:
    """Whether a server answers that takes our key."""
    request = urllib.request.Request(url, headers={"Authorization": access.credentials[0]})  # noqa: S310 (our own)
    try:
        with urllib.request.urlopen(request, timeout=2) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except (OSError, ValueError):
        return False


def _start(workspace: Workspace, page: Page, access: Access) -> "subprocess.Popen[bytes]":
    descriptor = page.socket.fileno()
    command = [sys.executable, "-m", "flows.servers.child", page.name, page.factory, str(descriptor)]
    with _log(workspace, page).open("wb") as log, page.socket:
        # Its own session: the terminal's Ctrl-C reaches our command alone, which then stops its servers in order.
        return subprocess.Popen(
            command,
            cwd=workspace.root,
            env=own_environment({**page.environment, **access.for_server()}),
            stdin=subprocess.PIPE,  # it ends when this is closed
            stdout=log,
            stderr=log,
            pass_fds=(descriptor,),
            start_new_session=True,
        )


def _log(workspace: Workspace, page: Page) -> Path:
    return workspace.state / f"{page.name}.log"


def _wait(page: Page, access: Access, process: "subprocess.Popen[bytes]", log: Path, stop: Event) -> None:
    deadline = monotonic() + START_S
    while not answers(page.url + page.health, access) and not stop.is_set():
        if process.poll() is not None or monotonic() > deadline:
            raise ServerError(f"{page.name} does not answer at {page.url}; see {log}")
        stop.wait(0.2)
