"""The Prefect task that brings one stage of the pipeline up to date through DVC."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from simpleseg_core.config.files import load_config
from tasks.runs.code import changed_code
from tasks.runs.data_version import Outcome, StageFailedError, reproduce
from tasks.runs.outputs import seed
from tasks.runs.progress import PROGRESS_VARIABLE, ProgressMessage, parse_progress
from tasks.runs.stage import ANEW_VARIABLE
from tasks.runs.workspace import Workspace

BAD_INPUT = 2
"""Exit code of a stage that was given what it cannot use; trying again would not help."""


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What became of one stage."""

    name: str
    outcome: Outcome
    seconds: float
    why: tuple[str, ...] = ()


def worth_retrying(task: Any, run: Any, state: State[Any]) -> bool:
    """A network stage is tried again unless what it was given is at fault, or it was told to stop."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.exit_code != BAD_INPUT and not error.stopped


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def bring_up_to_date(
    workspace: Workspace,
    name: str,
    environment: dict[str, str],
    on_line: Callable[[str], None],
    on_progress: Callable[[ProgressMessage], None],
    *,
    again: bool = False,
    anew: bool = False,
) -> State[StageOutcome]:
    """Run a stage if DVC finds it out of date, else end in the state Cached; its output streams into the task's log.

    Args:
        workspace: where.
        name: of the stage.
        environment: more variables for its process.
        on_line, on_progress: told of its output as it comes.
        again: run it even if DVC finds it up to date; finished parts are kept.
        anew: run it even then, from nothing.

    Raises:
        StageFailedError: the stage's command failed.
    """
    logger = get_run_logger()

    def take(line: str) -> None:
        if message := parse_progress(line):
            on_progress(message)
        else:
            logger.info(line)
            on_line(line)

    began = time.monotonic()
    variables = {**environment, PROGRESS_VARIABLE: "messages"}
    if anew:
        variables[ANEW_VARIABLE] = "1"
    seed(workspace, name)
    outcome = reproduce(workspace, name, variables, take, force=again or anew)
    if outcome is Outcome.RESTORED and changed_code(workspace, load_config(workspace.params), name):
        take(f"{name}: what DVC has brought back was made by other code; it runs again")
        outcome = reproduce(workspace, name, variables, take, force=True)
    ended = StageOutcome(name, outcome, time.monotonic() - began)
    return _state(ended)


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def show_as_cached(name: str) -> State[StageOutcome]:
    """A stage that is up to date: nothing happens, and the flow's page shows it as Cached."""
    return _state(StageOutcome(name, Outcome.UNCHANGED, 0.0))


def _state(ended: StageOutcome) -> State[StageOutcome]:
    if ended.outcome is Outcome.RAN:
        return Completed(data=ended, message=f"ran in {ended.seconds:.1f} s")
    return Completed(name="Cached", data=ended, message=f"{ended.outcome.value}: DVC had nothing to run")
