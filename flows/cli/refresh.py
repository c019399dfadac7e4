"""`simpleseg refresh`: fetch what is new in the metadata and bring the dataset up to date, now or on a schedule."""

from functools import partial
from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import bad_input, out, stage_names
from flows.cli.run import chosen_prefect, followed
from flows.cli.serving import check_cron, serve_until_stopped
from simpleseg_core.config.files import load_config
from tasks.graph import known_stage
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg refresh                       fetch new rows, annotate, make a dataset

  simpleseg refresh --retry-failed        and fetch again what may come this time

  simpleseg refresh --until contour       no further than polygons

  simpleseg refresh --cron "0 3 * * *"    every night at three, until Ctrl-C
"""


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
        if cron is not None:
            check_cron(cron)
        load_config(workspace.params)
    settings = {"until": until, "retry_failed": retry_failed, "examples": examples}
    if cron is None:
        _refresh_now(settings, chosen_prefect(workspace), verbose=verbose)
    else:
        serve_until_stopped(workspace, cron, partial(_serve_schedule, workspace, cron, settings))


def _refresh_now(settings: dict[str, object], server: str | None, *, verbose: bool) -> None:
    from flows.refresh import RefreshParams, refresh

    with followed("simpleseg refresh", verbose=verbose):
        new = refresh(RefreshParams.model_validate(settings))
    reasons = ", ".join(f"{status} {count}" for status, count in sorted(new.items()) if status != "ok")
    out.print(f"{new.get('ok', 0)} images added" + (f"; rows without an image: {reasons}" if reasons else ""))
    where = f"in Prefect ({escape(server)})" if server else "in Prefect (`simpleseg ui` shows it)"
    out.print(f"the summary with examples is the artifact `refresh` {where}")


def _serve_schedule(workspace: Workspace, cron: str, settings: dict[str, object]) -> None:
    from flows.deployments import serve
    from flows.refresh import RefreshParams, served

    name = escape(workspace.root.name)
    out.print(f"refreshing at `{escape(cron)}` (UTC): deployment refresh/{name}; Ctrl-C stops it")
    serve(workspace, [served(cron, RefreshParams.model_validate(settings))])
