"""`simpleseg annotate`: find, segment and outline objects in images of one's own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, INTERRUPTED, bad_input, err, fail, out
from simpleseg_core.config.files import load_config
from simpleseg_core.kinds import EXPORT_FORMATS
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from tasks.annotate_images import AnnotateResult

EXAMPLES = """\
Examples:

  simpleseg annotate scene.jpg --phrases "red circle,two blue stars"

  simpleseg annotate photos --out annotated      photos/a.json has boxes, or photos/a.txt a caption, for photos/a.jpg

  simpleseg annotate photos --phrases "dog,bicycle" --set detect.engine=transformers --set segment.engine=sam

  simpleseg annotate photos --format labelme     to correct by hand: labelme annotated/labelme
"""
NOTHING_FOUND = 3
"""With --must-find: every image was worked on, and none holds an instance."""
_SHOWN = 20


def annotate(
    paths: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where results go; an interrupted run goes on there.")
    ] = Path("annotated"),
    phrases: Annotated[
        str, typer.Option(metavar="TEXT", help='What to look for in every image, such as "red circle,dog".')
    ] = "",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"Of the annotation files: {', '.join(EXPORT_FORMATS.names())}.",
            autocompletion=EXPORT_FORMATS.names,
        ),
    ] = "coco",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the configuration for this once; repeatable."),
    ] = None,
    must_find: Annotated[
        bool, typer.Option("--must-find", help="Exit code 3 where nothing is found in any image.")
    ] = False,
) -> None:
    """Annotate images of your own with the engines of params.yaml: boxes, masks, polygons, overlays."""
    with bad_input():
        EXPORT_FORMATS.known(format_)
        config = load_config(Workspace.find().params, set_ or [])
    from simpleseg_core.sources.own_images import find_images
    from tasks.annotate_images import NothingAnnotatedError, annotate_images
    from tasks.runs.progress import open_progress

    wanted = [phrase.strip() for phrase in phrases.split(",") if phrase.strip()]
    try:
        with bad_input():
            images = find_images(paths, leave_out=folder)
            with _hushed_stages(), open_progress() as progress:
                result = annotate_images(images, folder, config, wanted, format_, progress)
    except NothingAnnotatedError as error:
        raise fail(str(error), FAILED) from None
    except KeyboardInterrupt:
        err.print(f"\n[yellow]interrupted[/]: the same command goes on, from what is in {escape(str(folder))}")
        raise typer.Exit(INTERRUPTED) from None
    _show(result, folder, format_)
    if must_find and not result.instances:
        raise typer.Exit(NOTHING_FOUND)


@contextmanager
def _hushed_stages() -> Iterator[None]:
    """No warnings of single images: what failed is listed at the end."""
    logger = logging.getLogger("tasks")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _show(result: "AnnotateResult", folder: Path, format_: str) -> None:
    out.print(f"{result.instances} instances in {result.images} images")
    dropped = [f"{row['filter']} {row['dropped']}" for row in result.funnel if row["dropped"]]
    if dropped:
        out.print(f"dropped by filters: {', '.join(dropped)}")
    if result.instances:
        for name, what in ((format_, "annotations"), ("overlays", "drawn"), ("sheet.png", "worst and random")):
            out.print(f"  {escape(str(folder / name))}  {what}", soft_wrap=True)
    _list(f"nothing found in {len(result.empty)}", result.empty)
    if result.failed:
        _list(f"[red]failed: {len(result.failed)}[/]", [f"{file}: {why}" for file, why in result.failed.items()])
        raise typer.Exit(FAILED)


def _list(heading: str, lines: "list[str] | tuple[str, ...]") -> None:
    if lines:
        err.print(heading)
        for line in lines[:_SHOWN]:
            err.print(f"  {escape(line)}", soft_wrap=True)
        if len(lines) > _SHOWN:
            err.print(f"  ... and {len(lines) - _SHOWN} more")
