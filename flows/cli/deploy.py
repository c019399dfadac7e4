"""`simpleseg deploy`: runs of this working copy that are started in Prefect's page, by its API, or by a schedule."""

from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import bad_input, out, stage_names
from flows.cli.serving import check_cron, serve_until_stopped
from simpleseg_core.config.files import load_config
from tasks.graph import known_stage
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg deploy                        runs are started in the page of Prefect, until Ctrl-C

  simpleseg deploy --cron "0 3 * * *"     and a refresh every night at three

  PREFECT_API_URL=http://HOST:4200/api simpleseg deploy      on a server of your own
"""


def deploy(
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help="When the refresh runs by itself (five cron fields, UTC).")
    ] = None,
    until: Annotated[
        str, typer.Option(metavar="STAGE", autocompletion=stage_names, help="Last stage of the refresh.")
    ] = "dataset",
) -> None:
    """Serve `pipeline` and `refresh` as deployments of the configured Prefect server, until Ctrl-C.

    Runs execute here, in this working copy, one at a time: those that are started meanwhile wait. A run that is
    cancelled in the page stops like one in the terminal, and the next one goes on from there.
    """
    with bad_input():
        workspace = Workspace.find()
        known_stage(until)
        if cron is not None:
            check_cron(cron)
        load_config(workspace.params)

    def serve() -> None:
        from flows.deployments import Served
        from flows.deployments import serve as serve_flows
        from flows.pipeline import PipelineParams, pipeline
        from flows.refresh import RefreshParams, served

        when = f", refresh at `{escape(cron)}` (UTC)" if cron else ""
        name = escape(workspace.root.name)
        out.print(f"serving pipeline/{name} and refresh/{name}{when}; Ctrl-C stops it", soft_wrap=True)
        nightly = served(cron, RefreshParams(until=until))
        serve_flows(workspace, [Served(pipeline, PipelineParams()), nightly])

    serve_until_stopped(workspace, cron, serve)
