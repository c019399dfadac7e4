"""`simpleseg data remove`: take images out that somebody asks to be taken out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.console import FAILED, bad_input, fail, out
from tasks.runs.workspace import Workspace

if TYPE_CHECKING:
    from simpleseg_core.fetch import Removals

EXAMPLES = """\
Examples:

  simpleseg data remove --url https://example.org/cat.jpg          what would go

  simpleseg data remove --url https://example.org/cat.jpg --yes    take it out

  simpleseg data remove --list asked.txt --yes                     a URL or sha256 a line
"""
_SUM_LENGTH = 64


def remove(
    url: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Of an image, as in the metadata; repeatable.")
    ] = None,
    sha256: Annotated[
        list[str] | None, typer.Option("--hash", metavar="SHA256", help="Of an image as served; repeatable.")
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="A text file with a URL or a sha256 a line.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this option, only what would go is said.")] = False,
) -> None:
    """Take images out of the shards, with the text that came with them, and never fetch them again.

    `data/images/removed.csv` is the record; it names URLs by keys, not by themselves.
    """
    from simpleseg_core.fetch import Removals, matches
    from tasks.runs.lock import BusyError, alone

    with bad_input():
        urls, hashes = _wanted(url or [], sha256 or [], listed)
        workspace = Workspace.find()
        folder = workspace.root / "data" / "images"
        if not folder.is_dir():
            raise ValueError("data/images is not there: `simpleseg run --until ingest` or `dvc checkout` brings it")
        removals = Removals.of(urls, hashes)
        found = matches(folder, removals)
    for shard, rows in found.items():
        out.print(f"{shard.stem}: {len(rows)} rows")
    if not yes:
        out.print(f"{sum(map(len, found.values()))} rows would go; `--yes` takes them out and keeps them out")
        return
    try:
        with bad_input(), alone(workspace.run_lock, "a pipeline"):
            _take_out(folder, removals)
    except BusyError as error:
        raise fail(str(error), FAILED) from None


def _wanted(urls: list[str], hashes: list[str], listed: Path | None) -> tuple[list[str], list[str]]:
    lines = listed.read_text(encoding="utf-8").split() if listed is not None else []
    more = [line for line in lines if "://" in line]
    sums = [line for line in lines if len(line) == _SUM_LENGTH and line not in more]
    if strange := next((line for line in lines if line not in more and line not in sums), None):
        raise ValueError(f"--list {listed}: {strange!r} is neither a URL nor a sha256 sum")
    if not (urls or hashes or lines):
        raise ValueError("nothing is named: --url, --hash, or --list FILE")
    return [*urls, *more], [*hashes, *sums]


def _take_out(folder: Path, removals: "Removals") -> None:
    from simpleseg_core.fetch import record, summarise, take_out_removed

    record(folder, removals)
    count = take_out_removed(folder)
    summarise(folder)
    out.print(f"{count} rows emptied, their images gone; the record is data/images/removed.csv")
    out.print(
        "next: `simpleseg refresh` makes boxes, masks, outlines and the dataset without them, `dvc push` sends it;"
    )
    out.print(
        "then `dvc gc --workspace --cloud` takes earlier versions out of cache and remote (models stay as trained)"
    )
