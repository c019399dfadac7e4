"""`simpleseg status`: what is up to date, what would run, and why."""

from rich.markup import escape
from rich.table import Table

from flows.cli.console import bad_input, fail, out
from tasks.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg status        a line for each stage; params that changed are named with both values
"""


def status() -> None:
    """Show what is up to date, what would run, and why."""
    from tasks.data_version import DvcError, out_of_date, read_graph

    with bad_input():
        workspace = Workspace.find()
        try:
            graph, stale = read_graph(workspace), out_of_date(workspace)
        except DvcError as error:
            raise fail(str(error)) from None
    table = Table(box=None)
    for heading in ("stage", "state", "why"):
        table.add_column(heading)
    moving: set[str] = set()
    for name, upstream in graph.upstream.items():
        if name in stale:
            moving.add(name)
            table.add_row(name, "[yellow]would run[/]", escape("; ".join(stale[name])))
        elif before := [each for each in upstream if each in moving]:
            moving.add(name)
            table.add_row(name, "[yellow]may run[/]", f"if {' or '.join(before)} changes its output")
        else:
            table.add_row(name, "[green]up to date[/]", "")
    out.print(table)
