"""`simpleseg doctor`: can this machine run the pipeline, and what to do where it cannot."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.console import FAILED, AsJson, bad_input, err, out
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from tasks.runs.doctor import Check

EXAMPLES = """\
Examples:

  simpleseg doctor        exit code 1 when something needs a cure

  simpleseg doctor --json | jq '.[] | select(.ok | not)'
"""


def doctor(as_json: AsJson = False) -> None:
    """Check Python, cores, memory, disk, GPU, vLLM, git and DVC, and say what to do."""
    from tasks.runs.doctor import checks

    with bad_input():
        root = Workspace.find().root
    with err.status("looking ..."):
        found = list(checks(root))
    if as_json:
        out.print_json(data=[asdict(each) for each in found], highlight=False)
    else:
        out.print(_table(found))
    if not all(each.ok for each in found):
        raise typer.Exit(FAILED)


def _table(found: "list[Check]") -> Table:
    table = Table(box=None, show_header=False)
    for each in found:
        mark = "[green]ok[/]" if each.ok else "[red]not ok[/]"
        cure = f"\n[yellow]{escape(each.cure)}[/]" if each.cure and not each.ok else ""
        table.add_row(mark, f"[bold]{escape(each.name)}[/]", escape(each.detail) + cure)
    return table
