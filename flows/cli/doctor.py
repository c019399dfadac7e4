"""`simpleseg doctor`: can this machine run the pipeline, and what to do where it cannot."""

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.console import FAILED, bad_input, out
from tasks.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg doctor        exit code 1 when something needs a cure
"""


def doctor() -> None:
    """Check Python, cores, memory, disk, GPU, vLLM, git and DVC, and say what to do."""
    from tasks.doctor import checks

    with bad_input():
        root = Workspace.find().root
    table = Table(box=None, show_header=False)
    healthy = True
    with out.status("looking ..."):
        for found in checks(root):
            healthy &= found.ok
            mark = "[green]ok[/]" if found.ok else "[red]not ok[/]"
            cure = f"\n[yellow]{escape(found.cure)}[/]" if found.cure and not found.ok else ""
            table.add_row(mark, f"[bold]{escape(found.name)}[/]", escape(found.detail) + cure)
    out.print(table)
    if not healthy:
        raise typer.Exit(FAILED)
