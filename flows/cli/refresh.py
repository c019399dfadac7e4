"""`simpleseg refresh`: fetch what is new in the metadata and bring the dataset up to date, now or on a schedule."""

from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, bad_input, fail, out, stage_names
from flows.cli.run import chosen_prefect, followed
from flows.cli.ui import show_links
from simpleseg_core.config.files import load_config
from tasks.graph import known_stage
from tasks.runs.processes import stop_requests, until_stopped
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg refresh                       fetch new rows, annotate, make a dataset

  simpleseg refresh --retry-failed        and fetch again what may come this time

  simpleseg refresh --until contour       no further than polygons

  simpleseg refresh --cron "0 3 * * *"    every night at three, until Ctrl-C
"""

_PORTS = (4200, 5000)


def refresh(
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help="Serve a schedule (five cron fields) instead of one run now.")
    ] = None,
    until: Annotated[
        str, typer.Option(metavar="STAGE", autocompletion=stage_names, help="Last stage; later ones stay as they are.")
    ] = "dataset",
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Also fetch again what failed for a reason that may pass; params.yaml says so from then on.",
        ),
    ] = False,
    examples: Annotated[int, typer.Option(min=1, help="Pictures on the contact sheet of the summary.")] = 24,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what DVC says, too.")] = False,
) -> None:
    """Fetch what is new in the metadata, annotate it, and make the next version of the dataset.

    Finished shards stay as they are. A run that would overlap another one is refused.
    """
    with bad_input():
        workspace = Workspace.find()
        known_stage(until)
        if cron is not None and len(cron.split()) != 5:
            raise ValueError(f'--cron {cron!r} is not five fields: minute hour day month weekday, as in "0 3 * * *"')
        load_config(workspace.params)
    from flows.servers import own_prefect

    own = own_prefect()
    server = chosen_prefect(workspace, lasting=cron is not None)
    settings = {"until": until, "retry_failed": retry_failed, "examples": examples}
    if cron is None:
        _refresh_now(settings, server, verbose=verbose)
        return
    with bad_input():
        _check_schedule(cron)
        if own and server is None:
            raise ValueError("--cron: the Prefect that you have chosen names no server; set PREFECT_API_URL")
    if server is None:
        _serve_pages_and_schedule(workspace, cron, settings)
    else:
        with until_stopped():
            _serve_schedule(workspace, cron, settings)
    out.print("stopped")


def _refresh_now(settings: dict[str, object], server: str | None, *, verbose: bool) -> None:
    from flows.refresh import RefreshParams, refresh

    with followed("simpleseg refresh", verbose=verbose):
        new = refresh(RefreshParams.model_validate(settings))
    reasons = ", ".join(f"{status} {count}" for status, count in sorted(new.items()) if status != "ok")
    out.print(f"{new.get('ok', 0)} images added" + (f"; rows without an image: {reasons}" if reasons else ""))
    where = f"in Prefect ({escape(server)})" if server else "in Prefect (`simpleseg ui` shows it)"
    out.print(f"the summary with examples is the artifact `refresh` {where}")


def _check_schedule(cron: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError:
        raise ValueError(
            f'--cron {cron!r} is not a schedule: minute hour day month weekday, as in "0 3 * * *"'
        ) from None


def _serve_pages_and_schedule(workspace: Workspace, cron: str, settings: dict[str, object]) -> None:
    from flows.servers import ServerError, use_server
    from flows.servers import serve as serve_pages

    tracking = load_config(workspace.params).tracking
    out.print("starting Prefect and MLflow ...")  # of our own: Prefect's temporary server keeps no schedules
    try:
        with stop_requests() as stop, serve_pages(workspace, tracking, _PORTS, stop) as servers, until_stopped():
            if not stop.is_set():
                use_server(servers.access, servers.prefect)
                show_links(servers, workspace, tracking)
                _serve_schedule(workspace, cron, settings)
    except ServerError as error:
        raise fail(str(error), FAILED) from None


def _serve_schedule(workspace: Workspace, cron: str, settings: dict[str, object]) -> None:
    from flows.refresh import RefreshParams, serve

    name = escape(workspace.root.name)
    out.print(f"refreshing at `{escape(cron)}` (UTC): deployment refresh/{name}; Ctrl-C stops it")
    serve(workspace, cron, RefreshParams.model_validate(settings))
