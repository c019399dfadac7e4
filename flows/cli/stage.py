"""`simpleseg stage NAME`: run one stage in this process; DVC calls it."""

import logging
import sys
from typing import Annotated

import typer

from flows.cli.console import FAILED, INTERRUPTED, bad_input, err, fail
from simpleseg_core.stages.graph import STAGES
from tasks.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg stage contour        run one stage on the folders as they are; DVC is not asked

`simpleseg run --from contour --until contour` does the same and tells DVC.
"""


def stage(name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(STAGES)}.")]) -> None:
    """Run one stage, whether it is out of date or not."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    if name not in STAGES:
        raise fail(f"no stage {name!r}: choose one of {', '.join(STAGES)}")
    with bad_input():
        workspace = Workspace.find()
    from tasks.stage import BadInputError, run_stage

    try:
        run_stage(workspace, name)
    except BadInputError as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        err.print(f"[yellow]interrupted[/]: the next run of {name} goes on from what it has saved")
        raise typer.Exit(INTERRUPTED) from None
    except Exception:
        logging.getLogger("simpleseg").exception("stage %s failed", name)
        raise typer.Exit(FAILED) from None
