"""`simpleseg annotate`: find, segment and outline objects in images of one's own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, INTERRUPTED, bad_input, err, fail, out
from simpleseg_core.config.files import load_config
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from simpleseg_core.annotate_images import AnnotateResult

EXAMPLES = """\
Examples:

  simpleseg annotate scene.jpg --phrases "red circle,two blue stars"

  simpleseg annotate photos --out annotated      photos/a.json has boxes, or photos/a.txt a caption, for photos/a.jpg

  simpleseg annotate photos --phrases "dog,bicycle" --set detect.engine=transformers --set segment.engine=sam

  simpleseg annotate photos --format labelme     to correct by hand: labelme annotated/labelme
"""
_SHOWN = 20


class Format(StrEnum):
    """What annotation files are written."""

    coco = "coco"
    labelme = "labelme"
    hf = "hf"


def annotate(
    paths: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where results go; an interrupted run goes on there.")
    ] = Path("annotated"),
    phrases: Annotated[
        str, typer.Option(metavar="TEXT", help='What to look for in every image, such as "red circle,dog".')
    ] = "",
    format_: Annotated[Format, typer.Option("--format", help="Of the annotation files.")] = Format.coco,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the configuration for this once; repeatable."),
    ] = None,
) -> None:
    """Annotate images of your own with the engines of params.yaml: boxes, masks, polygons, overlays."""
    with bad_input():
        config = load_config(Workspace.find().params, set_ or [])
    from simpleseg_core.annotate_images import NothingAnnotatedError, annotate_images
    from simpleseg_core.data.own_images import find_images
    from tasks.progress import open_progress

    wanted = [phrase.strip() for phrase in phrases.split(",") if phrase.strip()]
    try:
        with bad_input():
            images = find_images(paths, leave_out=folder)
            with _hushed_stages(), open_progress() as progress:
                result = annotate_images(images, folder, config, wanted, format_.value, progress)
    except NothingAnnotatedError as error:
        raise fail(str(error), FAILED) from None
    except KeyboardInterrupt:
        err.print(f"\n[yellow]interrupted[/]: the same command goes on, from what is in {escape(str(folder))}")
        raise typer.Exit(INTERRUPTED) from None
    _show(result, folder, format_)


@contextmanager
def _hushed_stages() -> Iterator[None]:
    """No warnings of single images: what failed is listed at the end."""
    logger = logging.getLogger("simpleseg_core.stages")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _show(result: "AnnotateResult", folder: Path, format_: Format) -> None:
    out.print(f"{result.instances} instances in {result.images} images")
    dropped = [f"{row['filter']} {row['dropped']}" for row in result.funnel if row["dropped"]]
    if dropped:
        out.print(f"dropped by filters: {', '.join(dropped)}")
    if result.instances:
        for name, what in ((format_.value, "annotations"), ("overlays", "drawn"), ("sheet.png", "worst and random")):
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
