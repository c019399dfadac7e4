"""`simpleseg profile`: the configurations that ship with the package."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.console import bad_input, out
from flows.params import use_profile
from simpleseg_core.config import Config
from simpleseg_core.config.files import changes, load_profile, profiles, read_yaml
from tasks.runs.workspace import Workspace

app = typer.Typer(help="Profiles: nano on a laptop, the published recipes on GPUs.", no_args_is_help=True)


@app.command("list", epilog="Examples:\n\n  simpleseg profile list")
def list_() -> None:
    """List the profiles; a star marks the one in use."""
    with bad_input():
        current = read_yaml(Workspace.find().params).get("profile")
    table = Table(box=None, show_header=False)
    for name, summary in profiles().items():
        table.add_row("*" if name == current else " ", f"[bold]{name}[/]", escape(summary))
    out.print(table)


@app.command(epilog="Examples:\n\n  simpleseg profile show qwen2_5_vl_7b")
def show(
    name: Annotated[str, typer.Argument(help="Name of a profile.", autocompletion=lambda: list(profiles()))],
) -> None:
    """Show how a profile differs from the defaults."""
    with bad_input():
        profile = load_profile(name)
    for change in changes(Config().model_dump(mode="json"), profile.model_dump(mode="json")):
        out.print(str(change), markup=False)


@app.command(epilog="Examples:\n\n  simpleseg profile use nano")
def use(
    name: Annotated[str, typer.Argument(help="Name of a profile.", autocompletion=lambda: list(profiles()))],
) -> None:
    """Write a profile as params.yaml."""
    with bad_input():
        workspace = Workspace.find()
        changed = use_profile(workspace, name)
    out.print(f"params.yaml is now the profile [bold]{name}[/]")
    for change in changed:
        out.print(f"  {change}", markup=False)
