"""`simpleseg ui`: the pages of Prefect and MLflow."""

import ipaddress
from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, bad_input, fail, out
from flows.servers import ServerError, Servers, running_servers, serve
from simpleseg_core.config import Config, TrackingConfig
from simpleseg_core.config.files import load_config
from tasks.runs.processes import stop_requests
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg ui                      both pages on loopback; Ctrl-C stops them

  simpleseg ui --mlflow-port 5001

  simpleseg ui --host 10.0.0.5      for others on a network that you trust (docs/security.md)
"""


def ui(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect; a free one if it is taken.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow; a free one if it is taken.")] = 5000,
    host: Annotated[str, typer.Option(help="Address of this machine to listen on.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A further host name that browsers use; repeatable.")
    ] = None,
) -> None:
    """Start the Prefect and MLflow pages and print a link to each, which opens it once.

    A page is for the browser that has followed such a link; called again, this prints new ones.
    """
    with bad_input():
        workspace = Workspace.find()
        config = load_config(workspace.params)
        public = not _checked(host).is_loopback
    if servers := running_servers(workspace):
        out.print("already running")
        show_links(servers, workspace, config.tracking)
        return
    out.print("starting ...")
    with bad_input():
        _serve(workspace, config, (prefect_port, mlflow_port), host, name or [], public=public)


def _serve(
    workspace: Workspace, config: Config, ports: tuple[int, int], host: str, names: list[str], *, public: bool
) -> None:
    try:
        with stop_requests() as stop, serve(workspace, config.tracking, ports, stop, host=host, names=names) as servers:
            show_links(servers, workspace, config.tracking)
            if public:
                out.print("[yellow]not encrypted[/]: who reads along on the network gets the key (docs/security.md)")
            out.print("runs of this working copy appear there; Ctrl-C stops both")
            stop.wait()
            out.print("stopping ...")
    except ServerError as error:
        raise fail(str(error), FAILED) from None


def show_links(servers: Servers, workspace: Workspace, tracking: TrackingConfig) -> None:
    """Print a link to each page; it opens the page once, so that whoever reads the terminal later gets nothing."""
    places = {"MLflow": _runs_table(workspace, tracking)}
    for page, link in servers.links.items():
        out.print(f"{page:8} {escape(link)}{places.get(page, '')}", soft_wrap=True)


def _runs_table(workspace: Workspace, tracking: TrackingConfig) -> str:
    """The part of the link that a browser keeps for itself, and keeps when it is sent on."""
    from tasks.runs.tracking import Store, runs_table

    try:
        return runs_table(Store.open(workspace, tracking))
    except ValueError:  # the page says itself what is wrong with the store
        return ""


def _checked(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address to listen on.

    Raises:
        ValueError: no address, or every one: a page that knows not how it is opened cannot tell foreign names.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"--host {host!r} is no address, such as 127.0.0.1; names go to --name") from None
    if address.is_unspecified:
        raise ValueError(f"--host {host} is every address: name the one that your team opens, such as 10.0.0.5")
    return address
