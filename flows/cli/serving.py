"""Serving flows until Ctrl-C, on the Prefect server that is configured, that of `simpleseg ui`, or one of our own."""

from collections.abc import Callable

from flows.cli.console import FAILED, bad_input, fail, out
from flows.cli.run import chosen_prefect
from flows.cli.ui import show_links
from simpleseg_core.config.files import load_config
from tasks.runs.processes import stop_requests, until_stopped
from tasks.runs.workspace import Workspace

_PORTS = (4200, 5000)


def check_cron(cron: str) -> None:
    """Whether it looks like a schedule, without Prefect.

    Raises:
        ValueError: it does not have five fields.
    """
    if len(cron.split()) != 5:
        raise ValueError(f'--cron {cron!r} is not five fields: minute hour day month weekday, as in "0 3 * * *"')


def serve_until_stopped(workspace: Workspace, cron: str | None, serve: Callable[[], None]) -> None:
    """Choose a lasting Prefect server, start one (and MLflow) where there is none, and serve there.

    Args:
        workspace: whose flows they are.
        cron: their schedule, checked before anything starts.
        serve: says what it serves, and does it until KeyboardInterrupt; only it may import Prefect.
    """
    from flows.servers import own_prefect

    own = own_prefect()
    server = chosen_prefect(workspace, lasting=True)
    with bad_input():
        if cron is not None:
            _check_schedule(cron)
        if own and server is None:
            raise ValueError("the Prefect that you have chosen names no server; set PREFECT_API_URL")
    if server is None:
        _serve_with_pages(workspace, serve)
    else:
        with until_stopped():
            serve()
    out.print("stopped")


def _check_schedule(cron: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError:
        raise ValueError(
            f'--cron {cron!r} is not a schedule: minute hour day month weekday, as in "0 3 * * *"'
        ) from None


def _serve_with_pages(workspace: Workspace, serve: Callable[[], None]) -> None:
    from flows.servers import ServerError, use_server
    from flows.servers import serve as serve_pages

    tracking = load_config(workspace.params).tracking
    out.print("starting Prefect and MLflow ...")  # of our own: Prefect's temporary server keeps no schedules
    try:
        with stop_requests() as stop, serve_pages(workspace, tracking, _PORTS, stop) as servers, until_stopped():
            if not stop.is_set():
                use_server(servers.access, servers.prefect)
                show_links(servers, workspace, tracking)
                serve()
    except ServerError as error:
        raise fail(str(error), FAILED) from None
