"""`simpleseg gc`: make room, keeping what is in use."""

from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, bad_input, fail, out
from simpleseg_core.config import TrackingConfig
from simpleseg_core.config.files import load_config
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg gc                      what would go, and how much that is

  simpleseg gc --yes                make room

  simpleseg gc --days 7 --versions 3 --yes
"""
_MIB = 1 << 20


def gc(
    days: Annotated[int, typer.Option(min=0, help="Checkpoints and deleted MLflow runs that are older go.")] = 30,
    versions: Annotated[
        int, typer.Option(min=1, help="Commits of each branch and tag whose data and models stay in DVC's cache.")
    ] = 10,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this option, only what would go is said.")] = False,
) -> None:
    """Drop old checkpoints of other settings, old versions in DVC's cache, and runs that were deleted in MLflow.

    The working copy as it is stays whole. Versions that a DVC remote lacks stay too, where there is a remote.
    """
    from tasks.runs.garbage import GarbageError
    from tasks.runs.lock import BusyError, alone

    with bad_input():
        workspace = Workspace.find()
        config = load_config(workspace.params)
    try:
        with bad_input(), alone(workspace.run_lock, "a pipeline"):
            _leftovers(workspace, days, remove=yes)
            _versions(workspace, versions, remove=yes)
            if yes:
                _runs(workspace, config.tracking, days)
    except (BusyError, GarbageError) as error:
        raise fail(str(error), FAILED) from None
    if not yes:
        out.print(f"runs that were deleted in MLflow more than {days} days ago go with `--yes`, too")
        out.print("nothing was removed: `simpleseg gc --yes` does it")


def _leftovers(workspace: Workspace, days: int, *, remove: bool) -> None:
    from tasks.runs.garbage import leftovers

    found = leftovers(workspace, days)
    for each in found:
        where = each.path.relative_to(workspace.root)
        out.print(f"{escape(str(where))}  {each.size / _MIB:,.1f} MiB, {each.days:.0f} days old", soft_wrap=True)
        if remove:
            each.remove()
    size = sum(each.size for each in found) / _MIB
    out.print(f"work folders: {size:,.1f} MiB {'gone' if remove else 'would go'}")


def _versions(workspace: Workspace, versions: int, *, remove: bool) -> None:
    from tasks.runs.garbage import collect_versions

    if not (workspace.root / ".dvc").is_dir():
        return
    said = collect_versions(workspace, versions, remove=remove)
    out.print("versions in DVC's cache:")
    for line in said.splitlines():
        if not line.startswith("WARNING"):
            out.print(f"  {escape(line)}", soft_wrap=True)


def _runs(workspace: Workspace, tracking: TrackingConfig, days: int) -> None:
    from tasks.runs.garbage import GarbageError, collect_runs

    try:
        collect_runs(workspace, tracking, days)
    except GarbageError as error:  # room has been made all the same
        out.print(f"[yellow]MLflow:[/] {escape(str(error))}", soft_wrap=True)
        return
    out.print(f"MLflow: runs that were deleted more than {days} days ago are gone")
