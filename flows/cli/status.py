"""`simpleseg status`: what is up to date, what would run, and why."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.markup import escape
from rich.table import Table

from flows.cli.console import AsJson, bad_input, fail, out
from simpleseg_core.config.files import load_config
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from tasks.runs.data_version import Graph

EXAMPLES = """\
Examples:

  simpleseg status        a line for each stage; params that changed are named with both values

  simpleseg status --json | jq -r '.[] | select(.state == "would run") | .stage'
"""
_COLOURS = {"would run": "yellow", "may run": "yellow", "up to date": "green"}


class _State(NamedTuple):
    stage: str
    state: str
    why: list[str]


def status(as_json: AsJson = False) -> None:
    """Show what is up to date, what would run, and why."""
    from tasks.runs.data_version import DvcError, read_graph
    from tasks.runs.freshness import freshness

    with bad_input():
        workspace = Workspace.find()
        load_config(workspace.params)  # DVC reads it too, and not as carefully
        try:
            graph = read_graph(workspace)
            stale = freshness(workspace, load_config(workspace.params), graph).reasons
        except DvcError as error:
            raise fail(str(error)) from None
    states = list(_states(graph, stale))
    if as_json:
        out.print_json(data=[each._asdict() for each in states], highlight=False)
        return
    table = Table(box=None)
    for heading in _State._fields:
        table.add_column(heading)
    for name, state, why in states:
        table.add_row(name, f"[{_COLOURS[state]}]{state}[/]", escape("; ".join(why)))
    out.print(table)


def _states(graph: "Graph", stale: Mapping[str, Sequence[str]]) -> Iterator[_State]:
    moving: set[str] = set()
    for name, upstream in graph.upstream.items():
        before = [each for each in upstream if each in moving]
        if name in stale:
            yield _State(name, "would run", list(stale[name]))
        elif before:
            yield _State(name, "may run", [f"if {' or '.join(before)} changes its output"])
        else:
            yield _State(name, "up to date", [])
            continue
        moving.add(name)
