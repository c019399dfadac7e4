"""`simpleseg data`: look at the data sets that training and benchmarks are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.console import FAILED, bad_input, fail, out
from simpleseg_core.config import ReferringConfig
from simpleseg_core.config.data import ReferringDataset
from simpleseg_core.config.files import load_config
from simpleseg_core.names import did_you_mean
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from simpleseg_core.sources.referring import SetReport, SplitReport

_SHOWN = 3
"""Examples of each finding."""

EXAMPLES = """\
Examples:

  simpleseg data check                          the sets of `data.referring`

  simpleseg data check refer/data               every set in a folder

  simpleseg data check downloads/rc --dataset refcoco --images coco/train2014

Exit code 1: a whole set has other counts than the published one, images are missing, or images or outlines cannot be
used.
"""

app = typer.Typer(help="Check the referring data sets (docs/datasets.md), take images out.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Check the referring data sets (docs/datasets.md), take images out."""


@app.command(epilog=EXAMPLES)
def check(
    path: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Folder of a set, or of several; unset: data.referring.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"One of {', '.join(get_args(ReferringDataset))}.")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder of the images.")] = None,
) -> None:
    """Count images, references and expressions, compare with the published sizes, look at every file and outline."""
    with bad_input():
        sets = _wanted(path, dataset, images)
    from simpleseg_core.sources.referring import check_referring

    sound = True
    for config in sets:
        with bad_input(), out.status(f"reading {escape(config.name)} ..."):
            report = check_referring(config)
        _show(report, config)
        sound &= report.ok
    if not sound:
        raise typer.Exit(FAILED)


def _wanted(path: Path | None, dataset: str | None, images: Path | None) -> Sequence[ReferringConfig]:
    if path is None:
        if dataset is not None or images is not None:
            raise ValueError("--dataset and --images say what a folder holds: name that FOLDER too")
        found = load_config(Workspace.find().params).data.referring
        if not found:
            raise ValueError("data.referring is empty: add a set to params.yaml, or name a folder to check")
        return found
    from simpleseg_core.sources.referring import find_sets

    name = next((each for each in get_args(ReferringDataset) if each == dataset), None)
    if dataset is not None and name is None:
        names = get_args(ReferringDataset)
        raise fail(f"--dataset {dataset}{did_you_mean(dataset, names)}: choose one of {', '.join(names)}")
    return find_sets(path, name, images)


def _show(report: "SetReport", config: ReferringConfig) -> None:
    division = f", split by {config.division}" if config.division else ""
    out.print(f"[bold]{escape(report.name)}[/]{division}: {escape(str(config.root))}", soft_wrap=True)
    table = Table(box=None)
    table.add_column("split")
    for heading in ("images", "refs", "expressions"):
        table.add_column(heading, justify="right")
    table.add_column("published")
    for split in report.splits:
        counts = (f"{count:,}" for count in (split.found.images, split.found.refs, split.found.expressions))
        table.add_row(escape(split.split), *counts, _verdict(split, partial=report.partial))
    out.print(table)
    _list("[red]missing images[/]", report.missing)
    _list("[red]images and outlines that cannot be used[/]", report.broken)
    _list("[yellow]empty outlines, left out[/]", report.empty)
    _list("[yellow]expressions without words, left out[/]", report.wordless)
    _list("[yellow]boxes outside their image[/]", report.outside)
    out.print()


def _verdict(split: "SplitReport", *, partial: bool) -> str:
    if split.published is None:
        return "[dim]unknown[/]"
    if partial:
        return "[dim]a part of it[/]"
    if split.differences:
        return f"[red]differs[/]: {escape('; '.join(split.differences))}"
    return "[green]the same[/]"


def _list(title: str, findings: Sequence[str]) -> None:
    if findings:
        more = f" and {len(findings) - _SHOWN:,} more" if len(findings) > _SHOWN else ""
        out.print(f"{title}: {len(findings):,}", soft_wrap=True)
        for each in findings[:_SHOWN]:
            out.print(f"  {escape(each)}", soft_wrap=True)
        if more:
            out.print(f" {more}")
