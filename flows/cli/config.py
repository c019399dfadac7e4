"""`simpleseg config`: show, check and describe params.yaml."""

import json
from typing import Annotated

import typer
from rich.syntax import Syntax

from flows.cli.console import bad_input, fail, out
from simpleseg_core.config import Config
from simpleseg_core.config.files import changes, dump_tree, dump_yaml, load_config, load_profile
from tasks.workspace import Workspace

app = typer.Typer(help="Show, check and describe params.yaml.", no_args_is_help=True)


@app.command(epilog="Examples:\n\n  simpleseg config show\n\n  simpleseg config show sft.optimizer")
def show(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="A section or a value, dotted.")] = None,
) -> None:
    """Print the resolved configuration, or a part of it."""
    with bad_input():
        config = load_config(Workspace.find().params)
    text = dump_yaml(config)
    if key is not None:
        part: object = config.model_dump(mode="json")
        for name in key.split("."):
            if not isinstance(part, dict) or name not in part:
                raise fail(f"no key `{key}`; `simpleseg config show` lists every key")
            part = part[name]
        text = dump_tree(part) if isinstance(part, dict) else json.dumps(part)
    out.print(
        Syntax(text.rstrip("\n"), "yaml", background_color="default", word_wrap=True)
        if out.is_terminal
        else text.rstrip("\n"),
        soft_wrap=True,
        markup=False,
    )


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
