"""`simpleseg run`: bring the pipeline up to date, and say what came of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from flows.cli.console import BAD_INPUT, FAILED, INTERRUPTED, bad_input, err, fail, out, stage_names
from flows.params import edit_params
from flows.tables import benchmark_rows
from simpleseg_core.config.files import load_config
from simpleseg_core.family import found_family
from tasks.graph import known_stage
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from flows.pipeline import PipelineResult
    from tasks.runs.data_version import StageFailedError

EXAMPLES = """\
Examples:

  simpleseg run                               everything that is out of date

  simpleseg run --until contour               the data engine up to polygons

  simpleseg run --set contour.tolerance=0.01  change params.yaml, then run what depends on it

  simpleseg run --from sft --force            train again from the dataset on

  simpleseg run --set data.source=coco --set data.coco.root=FOLDER   your own photographs
"""


def run(
    until: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", autocompletion=stage_names, help="Last stage; what it needs is brought up to date first."
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STAGE",
            autocompletion=stage_names,
            help="First stage; what comes before is taken as it is.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change params.yaml before the run; repeatable."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run the chosen stages from nothing, up to date or not.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what DVC says, too.")] = False,
) -> None:
    """Run the pipeline: the stages that are out of date, and only those."""
    began = time.monotonic()
    with bad_input():
        workspace = Workspace.find()
        _check_stages(from_, until)
        _edit(workspace, set_ or [])
        load_config(workspace.params)
    result = _run(workspace, {"until": until, "from_stage": from_, "force": force}, verbose)
    _show_results(workspace, result, time.monotonic() - began)


def _check_stages(*names: str | None) -> None:
    for name in names:
        if name is not None:
            known_stage(name)


def _edit(workspace: Workspace, overrides: list[str]) -> None:
    changed = edit_params(workspace, overrides)
    if changed:
        out.print("[bold]params.yaml[/] now says (the change stays; `git diff params.yaml` shows it):")
        for change in changed:
            out.print(f"  {escape(str(change))}")
    elif overrides:
        out.print("params.yaml already says so; nothing changed in it")


def _run(workspace: Workspace, params: dict[str, object], verbose: bool) -> "PipelineResult":
    server = chosen_prefect(workspace)
    from flows.pipeline import PipelineParams, pipeline

    if server:
        out.print(f"[dim]this run appears in Prefect: {escape(server)}[/]")
    with followed("simpleseg run", verbose=verbose):
        result: PipelineResult = pipeline(PipelineParams.model_validate(params))
    return result


def chosen_prefect(workspace: Workspace, *, lasting: bool = False) -> str | None:
    """`use_prefect_of`, whose errors end in one clear message each."""
    from flows.servers import ServerError, use_prefect_of

    with bad_input():
        try:
            return use_prefect_of(workspace, lasting=lasting)
        except ServerError as error:
            raise fail(str(error), FAILED) from None


@contextmanager
def followed(command: str, *, verbose: bool) -> Iterator[None]:
    """Show the pipeline that the block runs; its errors end in one clear message each. Prefect must be chosen before.

    Args:
        command: what goes on where an interrupted run has stopped.
        verbose: show what DVC says, too.
    """
    from flows.display import terminal
    from tasks.runs.data_version import DvcError, StageFailedError
    from tasks.runs.lock import BusyError

    found_family()
    try:
        with terminal(out, verbose=verbose):
            yield
    except StageFailedError as error:
        raise _stage_failed(error, command) from None
    except (BusyError, DvcError, ValueError) as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        raise _interrupted("interrupted", command) from None


def _interrupted(what: str, command: str) -> typer.Exit:
    err.print(
        f"\n[yellow]{what}[/]; `{command}` goes on where this stopped: finished stages are kept, training continues "
        "from its checkpoint"
    )
    return typer.Exit(INTERRUPTED)


def _stage_failed(error: "StageFailedError", command: str) -> typer.Exit:
    if error.stopped:
        return _interrupted(f"{error.stage} was stopped", command)
    if error.exit_code == BAD_INPUT:
        told = [line for line in error.tail if line.startswith("error:")]
        return fail(f"{error.stage}: {told[-1].removeprefix('error: ') if told else error.tail[-1]}")
    err.print(f"\n[red bold]{error.stage} failed[/] (exit code {error.exit_code}); the end of its output:")
    for line in error.tail[-15:]:
        err.print(f"  {escape(line)}", soft_wrap=True)
    if error.killed:
        err.print(
            "It was killed from outside: mostly, the machine's memory was full (`dmesg` says so).", soft_wrap=True
        )
    err.print(
        f"Cure the cause, then `{command}` goes on with {error.stage}; `simpleseg stage {error.stage}` runs it alone.",
        soft_wrap=True,
    )
    return typer.Exit(FAILED)


def _show_results(workspace: Workspace, result: "PipelineResult", seconds: float) -> None:
    from tasks.runs.data_version import Outcome

    if result.stale:
        out.print("[yellow]the scores here are of an earlier run[/]; `simpleseg run` brings them up to date:")
        for why in result.stale:
            out.print(f"  {escape(why)}")
    elif rows := benchmark_rows(workspace):
        out.print(_table(rows))
    ran = [each.name for each in result.stages if each.outcome is Outcome.RAN]
    what = f"ran {', '.join(ran)}; " if ran else "nothing to do: "
    kept = f"{len(result.stages) - len(ran)} of {len(result.stages)} stages were up to date"
    out.print(f"{what}{kept}; {_duration(seconds)} in all")
    page = workspace.root / "reports" / "report.html"
    if page.exists():
        out.print(f"look at  {escape(str(page))}")
    out.print('then     simpleseg ui | simpleseg predict IMAGE "red circle" | simpleseg status')


def _table(rows: list[dict[str, str]]) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption="percent (tokens: how many); ± half of the 95% interval",
    )
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading in ("benchmark", "model") else "right", no_wrap=True)
    for before, row in zip([None, *rows], rows, strict=False):
        first = before is None or before["benchmark"] != row["benchmark"]
        if first and before is not None:
            table.add_section()
        table.add_row(row["benchmark"] if first else "", *list(row.values())[1:])
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
