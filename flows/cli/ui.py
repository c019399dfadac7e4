"""`simpleseg ui`: the pages of Prefect and MLflow."""

from typing import Annotated

import typer

from flows.cli.console import FAILED, bad_input, fail, out
from flows.servers import running_servers, serve
from simpleseg_core.config.files import load_config
from tasks.processes import stop_requests
from tasks.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg ui                      both pages on loopback; Ctrl-C stops them

  simpleseg ui --mlflow-port 5001
"""


def ui(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect; a free one if it is taken.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow; a free one if it is taken.")] = 5000,
) -> None:
    """Start the Prefect and MLflow pages on loopback and print where they are."""
    with bad_input():
        workspace = Workspace.find()
        config = load_config(workspace.params)
    if servers := running_servers(workspace):
        out.print(f"already running: Prefect {servers.prefect}, MLflow {servers.mlflow}")
        return
    out.print("starting ...")
    try:
        with (
            stop_requests() as stop,
            serve(workspace, config.tracking, (prefect_port, mlflow_port), stop) as servers,
        ):
            out.print(
                f"Prefect  {servers.prefect}\nMLflow   {servers.mlflow}\n"
                "runs of this working copy appear there; Ctrl-C stops both"
            )
            stop.wait()
            out.print("stopping ...")
    except RuntimeError as error:
        raise fail(str(error), FAILED) from None
