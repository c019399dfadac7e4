"""`simpleseg stage NAME`: run one stage in this process; DVC calls it."""

import errno
import logging
import sys
import traceback
from typing import Annotated

import typer

from flows.cli.console import FAILED, INTERRUPTED, bad_input, err, fail, stage_names
from tasks.graph import STAGES, known_stage
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg stage contour        run one stage on the folders as they are; DVC is not asked

`simpleseg run --from contour --until contour` does the same and tells DVC.
"""


def stage(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=stage_names, help=f"One of {', '.join(STAGES)}.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Start from nothing: finished parts are made again.")] = False,
) -> None:
    """Run one stage, whether it is out of date or not."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    with bad_input():
        known_stage(name)
        workspace = Workspace.find()
    from tasks.runs.lock import BusyError
    from tasks.runs.stage import BadInputError, run_stage

    try:
        run_stage(workspace, name, anew=force)
    except (BadInputError, BusyError) as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        err.print(f"[yellow]interrupted[/]: the next run of {name} goes on from what it has saved")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if isinstance(error, ValueError | FileNotFoundError) and _is_told(error):
            raise fail(str(error)) from None
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise fail(f"{error.filename}: {error.strerror}; make it writable, or work in a copy") from None
        logging.getLogger("simpleseg").exception("stage %s failed", name)
        raise typer.Exit(FAILED) from None


def _is_told(error: Exception) -> bool:
    """Whether code of ours says what is wrong with the input; what a library raises there is a fault of the program."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith(("simpleseg_core.", "tasks."))
