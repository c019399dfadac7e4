"""One stage in this process: what `simpleseg stage NAME` does, and what DVC calls."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from simpleseg_core.config import Config
from simpleseg_core.config.files import ConfigError, dump_yaml, load_config
from simpleseg_core.contract import Context, StageResult
from simpleseg_core.family import found_family
from simpleseg_core.files import write_json, write_text
from tasks.checks import check_inputs
from tasks.graph import STAGES, load_stage
from tasks.hub import check_models
from tasks.runs.code import changed_since_last_run, remember_code
from tasks.runs.lock import alone
from tasks.runs.outputs import discard, discard_finished, publish, working_outputs
from tasks.runs.processes import callers
from tasks.runs.progress import open_progress
from tasks.runs.workspace import Workspace

_log = logging.getLogger(__name__)


class BadInputError(ValueError):
    """The stage cannot start with what it was given; nothing has been touched."""


ANEW_VARIABLE = "SIMPLESEG_ANEW"
"""Set: the stage starts from nothing; the way of `simpleseg run --force` through DVC."""


def run_stage(workspace: Workspace, name: str, *, anew: bool = False) -> StageResult:
    """Run one stage of the pipeline on the folders of the working copy, tracked, and write its metrics.

    Args:
        anew: forget what the stage has finished before; it is forgotten too where the code has changed since.

    Raises:
        ValueError: no such stage.
        BadInputError: params.yaml cannot be used, or an input is missing; the message names the stage that makes it.
        BusyError: the same stage runs here already.
    """
    os.chdir(workspace.root)
    config = _checked_config(workspace, name)
    with alone(workspace.stage_lock(name), f"stage {name}"):
        return _run_alone(workspace, name, config, anew=anew)


def _run_alone(workspace: Workspace, name: str, config: Config, *, anew: bool) -> StageResult:
    stage, spec = load_stage(name), STAGES[name]
    _forget(workspace, name, everything=anew or bool(os.environ.get(ANEW_VARIABLE)))
    remember_code(workspace, config, name)
    # MLflow takes a second to import: not before the input is known to be good.
    from tasks.runs.tracking import stage_run

    began = time.monotonic()
    found_family(*callers())
    with _interruptible(), stage_run(workspace, name, config) as run, open_progress() as progress:
        write_text(workspace.resolved_config(name), dump_yaml(config))
        context = Context(work=_made(workspace.work(name)), tracker=run.tracker, progress=progress)
        result = stage(config, spec.inputs, working_outputs(workspace, name), context)
        publish(workspace, name)
        write_json(workspace.metrics(name), {key: float(value) for key, value in result.metrics.items()})
        write_json(
            workspace.tracking(name) / "tables.json",
            {key: [dict(row) for row in rows] for key, rows in result.tables.items()},
        )
        run.log_result(name, result)
    _log.info("%s done in %.1f s: %s", name, time.monotonic() - began, _summary(result))
    return result


def _summary(result: StageResult, most: int = 6) -> str:
    """The first headline numbers in a line."""
    shown = [f"{name} {value:.4g}" for name, value in list(result.metrics.items())[:most]]
    return ", ".join(shown) + (", ..." if len(result.metrics) > most else "")


def _checked_config(workspace: Workspace, name: str) -> Config:
    try:
        config = load_config(workspace.params)
        check_inputs(config, [name])
        check_models(config, [name])
    except (ConfigError, FileNotFoundError, ValueError) as error:
        raise BadInputError(str(error)) from None
    _check_inputs(name)
    return config


def _forget(workspace: Workspace, name: str, *, everything: bool) -> None:
    if everything:
        discard(workspace, name)
    elif changed := changed_since_last_run(workspace, name):
        _log.info("code changed since %s last ran (%s): it starts anew", name, ", ".join(changed[:3]))
        discard_finished(workspace, name)


def _check_inputs(name: str) -> None:
    makers = {path: stage for stage, spec in STAGES.items() for path in spec.outputs.values()}
    for role, path in STAGES[name].inputs.items():
        if not path.exists():
            raise BadInputError(
                f"{name} needs {role} in {path}, which is missing: run `simpleseg run --until {makers[path]}`"
            )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt once, then nothing while the stage tidies up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
