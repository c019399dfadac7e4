"""`simpleseg accept`: what stages have left is as good as the present code makes it."""

from typing import Annotated

import typer

from flows.cli.console import bad_input, out, stage_names
from simpleseg_core.config.files import load_config
from tasks.graph import STAGES, known_stage
from tasks.runs.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg accept sft rl      the code changed, but not what it makes of these

  simpleseg accept             so it is with every stage
"""


def accept(
    stages: Annotated[
        list[str] | None,
        typer.Argument(metavar="STAGE...", help="Which stages; none: all.", autocompletion=stage_names),
    ] = None,
) -> None:
    """Take the present code for the one that made the results, so that `status` no longer says `code changed`."""
    from tasks.runs.code import changed_code, remember_code

    with bad_input():
        workspace = Workspace.find()
        config = load_config(workspace.params)
        chosen = [known_stage(name) for name in stages or STAGES]
    for name in chosen:
        if changed := changed_code(workspace, config, name):
            remember_code(workspace, config, name)
            out.print(f"{name}: {len(changed)} changes of code taken as none")
