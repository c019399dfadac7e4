"""`simpleseg config`: show, check and describe params.yaml."""

import json
from typing import Annotated

import typer
from rich.syntax import Syntax

from flows.cli.console import AsJson, bad_input, out
from simpleseg_core.config import Config
from simpleseg_core.config.files import changes, dump_tree, keys, load_config, load_profile
from simpleseg_core.names import did_you_mean
from tasks.runs.workspace import Workspace

app = typer.Typer(help="Show, check and describe params.yaml.", no_args_is_help=True)


@app.command(epilog="Examples:\n\n  simpleseg config show\n\n  simpleseg config show sft.optimizer --json")
def show(
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="A section or a value, dotted.", autocompletion=lambda: list(keys())),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the resolved configuration, or a part of it."""
    with bad_input():
        part = _part(load_config(Workspace.find().params).model_dump(mode="json"), key)
    if as_json:
        out.print_json(data=part, highlight=False)
        return
    text = (dump_tree(part) if isinstance(part, dict) else json.dumps(part)).rstrip("\n")
    shown = Syntax(text, "yaml", background_color="default", word_wrap=True) if out.is_terminal else text
    out.print(shown, soft_wrap=True, markup=False)


def _part(tree: dict[str, object], key: str | None) -> object:
    """The value at a dotted key; None: the whole."""
    part: object = tree
    for name in key.split(".") if key else ():
        if not isinstance(part, dict) or name not in part:
            raise ValueError(
                f"no key `{key}`{did_you_mean(key or '', keys())}; `simpleseg config show` lists every key"
            )
        part = part[name]
    return part


@app.command(epilog="Examples:\n\n  simpleseg config check\n\n  simpleseg config check --set sft.batch_size=48")
def check(
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Check as if this were set.")
    ] = None,
) -> None:
    """Validate params.yaml and say how it differs from its profile."""
    with bad_input():
        workspace = Workspace.find()
        config = load_config(workspace.params, set_ or [])
        profile = load_profile(config.profile)
    out.print(f"{workspace.params} is valid", markup=False)
    for change in changes(profile.model_dump(mode="json"), config.model_dump(mode="json")):
        out.print(f"  differs from profile {config.profile}: {change}", markup=False)


@app.command(epilog="Examples:\n\n  simpleseg config schema > schema.json        for the editor's completion")
def schema() -> None:
    """Print the JSON schema of params.yaml."""
    typer.echo(json.dumps(Config.model_json_schema(), indent=2))
