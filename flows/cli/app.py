"""The commands of `simpleseg`, put together; each imports what it needs when it runs, so that `--help` is quick."""

import typer

from flows.cli import annotate, config, data, doctor, export, predict, profile, refresh, run, stage, status, ui

app = typer.Typer(
    name="simpleseg",
    help="Referring segmentation with a multimodal language model that writes polygons as text.",
    epilog="Start with [bold]simpleseg run[/], then [bold]simpleseg ui[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("refresh", epilog=refresh.EXAMPLES)(refresh.refresh)
app.command("stage", epilog=stage.EXAMPLES)(stage.stage)
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("annotate", epilog=annotate.EXAMPLES)(annotate.annotate)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.add_typer(profile.app, name="profile")
app.command("ui", epilog=ui.EXAMPLES)(ui.ui)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
