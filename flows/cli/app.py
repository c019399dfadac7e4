"""The commands of `simpleseg`, put together; each imports what it needs when it runs, so that `--help` is quick."""

import re
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flows.cli import (
    accept,
    annotate,
    collect,
    compare,
    config,
    data,
    data_remove,
    deploy,
    doctor,
    export,
    plan,
    predict,
    profile,
    refresh,
    rl,
    run,
    stage,
    status,
    ui,
)
from simpleseg_core.names import did_you_mean


class _Suggesting(TyperGroup):
    """What Typer does for names of commands, for the values of choices too."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if choice := re.search(r"'(.*)' is not one of (.*)\.$", error.message):
                meant = did_you_mean(choice[1], re.findall("'([^']*)'", choice[2]))
                error.message = error.message.removesuffix(".") + (meant or ".")
            raise


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"simpleseg {version('simpleseg')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Suggesting,
    name="simpleseg",
    epilog="Start with [bold]simpleseg run[/], then [bold]simpleseg ui[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def simpleseg(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Referring segmentation with a multimodal language model that writes polygons as text."""


app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("refresh", epilog=refresh.EXAMPLES)(refresh.refresh)
app.command("deploy", epilog=deploy.EXAMPLES)(deploy.deploy)
app.command("stage", epilog=stage.EXAMPLES)(stage.stage)
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("accept", epilog=accept.EXAMPLES)(accept.accept)
app.command("plan", epilog=plan.EXAMPLES)(plan.plan)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("annotate", epilog=annotate.EXAMPLES)(annotate.annotate)
app.command("export", epilog=export.EXAMPLES)(export.export)
data.app.command("remove", epilog=data_remove.EXAMPLES)(data_remove.remove)
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.add_typer(profile.app, name="profile")
app.add_typer(rl.app, name="rl")
app.command("ui", epilog=ui.EXAMPLES)(ui.ui)
app.command("gc", epilog=collect.EXAMPLES)(collect.gc)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
