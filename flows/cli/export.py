"""`simpleseg export`: the annotations of this working copy for other tools."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, INTERRUPTED, bad_input, err, fail, out
from simpleseg_core.config.files import load_config
from simpleseg_core.kinds import EXPORT_FORMATS
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg export coco --out export/coco                  instances.json and images/

  simpleseg export coco --masks rle --out export/exact     masks as they were before they became polygons

  simpleseg export coco --categories phrase --out export/phrases   a category for each phrase, not for each noun

  simpleseg export labelme --out export/labelme            to correct by hand: labelme export/labelme

  simpleseg export hf --out export/hf                      load_dataset("export/hf") of Hugging Face

  simpleseg export sheets --out export/sheets              a page a shard: the worst instances, and some at random
"""


class Table(StrEnum):
    """Where annotations are taken from."""

    descriptions = "descriptions"
    polygons = "polygons"


class Masks(StrEnum):
    """How COCO masks are written."""

    polygons = "polygons"
    rle = "rle"


def export(
    format_: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help=f"{', '.join(EXPORT_FORMATS.names())}.", autocompletion=EXPORT_FORMATS.names
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new folder.")],
    table: Annotated[
        Table | None, typer.Option("--from", help="The stage's output to export; descriptions where there are some.")
    ] = None,
    masks: Annotated[
        Masks, typer.Option(help="coco only: outlines as models learn them, or the exact masks.")
    ] = Masks.polygons,
    categories: Annotated[
        str, typer.Option(metavar="noun|phrase|FILE", help="coco only: what is a category; FILE maps phrases or nouns.")
    ] = "noun",
    all_images: Annotated[bool, typer.Option("--all-images", help="Also images in which nothing was kept.")] = False,
) -> None:
    """Write the annotated instances, with their images, for another tool; whole or not at all."""
    from simpleseg_core.export import Annotations, by_file, by_noun, by_phrase, export_folder

    with bad_input():
        EXPORT_FORMATS.known(format_)
        named = {"noun": by_noun, "phrase": by_phrase}.get(categories) or by_file(Path(categories))
        workspace = Workspace.find()
        config = load_config(workspace.params)
        annotations = Annotations.open(workspace.root / "data", table.value if table else None, all_images=all_images)
    from tasks.runs.progress import open_progress

    try:
        with bad_input(), open_progress() as progress:
            counts = export_folder(format_, annotations, folder, masks.value, named, config.seed, progress)
    except KeyError as error:  # an image that a table names is in no shard
        raise fail(error.args[0], FAILED) from None
    except KeyboardInterrupt:
        err.print(f"\n[yellow]interrupted[/]: {escape(str(folder))} has not been written")
        raise typer.Exit(INTERRUPTED) from None
    written = ", ".join(f"{count} {what}" for what, count in counts.items())
    out.print(f"{written} in {escape(str(folder))}", soft_wrap=True)
