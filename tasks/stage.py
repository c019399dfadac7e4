"""One stage in this process: what `simpleseg stage NAME` does, and what DVC calls."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from simpleseg_core.config.files import ConfigError, dump_yaml, load_config
from simpleseg_core.files import write_json, write_text
from simpleseg_core.stages import STAGES, Context, StageResult, load_stage
from tasks.processes import is_alive
from tasks.progress import open_progress
from tasks.workspace import Workspace

_log = logging.getLogger(__name__)


class BadInputError(ValueError):
    """The stage cannot start with what it was given; nothing has been touched."""


LAUNCHER_VARIABLE = "SIMPLESEG_LAUNCHER_PID"
"""Process id of the pipeline that a stage must not outlive."""


def run_stage(workspace: Workspace, name: str) -> StageResult:
    """Run one stage of the pipeline on the folders of the working copy, tracked, and write its metrics.

    Raises:
        KeyError: no such stage.
        BadInputError: params.yaml cannot be used, or an input is missing; the message names the stage that makes it.
    """
    os.chdir(workspace.root)
    try:
        config = load_config(workspace.params)
    except ConfigError as error:
        raise BadInputError(str(error)) from None
    _check_inputs(name)
    stage, spec = load_stage(name), STAGES[name]
    from tasks.tracking import stage_run  # MLflow takes a second to import: not before the input is known to be good

    began = time.monotonic()
    die_with_launcher()
    with _interruptible(), stage_run(workspace, name, config) as run, open_progress() as progress:
        write_text(workspace.resolved_config(name), dump_yaml(config))
        context = Context(work=_made(workspace.work(name)), tracker=run.tracker, progress=progress)
        result = stage(config, spec.inputs, spec.outputs, context)
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


def die_with_launcher() -> None:
    """Kill this process when its launcher is gone: a second run must not meet the first one's stage."""
    launcher = os.environ.get(LAUNCHER_VARIABLE, "")
    if not launcher.isdigit():
        return

    def watch() -> None:
        while is_alive(int(launcher)):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="launcher-watch", daemon=True).start()
