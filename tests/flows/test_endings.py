"""How a run that does not end well says so."""

import signal

import pytest

from flows.cli.console import BAD_INPUT, FAILED, INTERRUPTED
from flows.cli.run import _stage_failed
from tasks.runs.data_version import StageFailedError


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (1, FAILED, "sft failed (exit code 1)"),
        (BAD_INPUT, BAD_INPUT, "error: sft: nothing there"),
        (INTERRUPTED, INTERRUPTED, "sft was stopped; `simpleseg run` goes on where this stopped"),
        (128 + signal.SIGTERM, INTERRUPTED, "sft was stopped"),
        (-signal.SIGTERM, INTERRUPTED, "sft was stopped"),
        (128 + signal.SIGKILL, FAILED, "killed from outside: mostly, the machine's memory was full"),
    ],
)
def test_who_ended_a_stage_is_said(capsys: pytest.CaptureFixture[str], code: int, exit_code: int, said: str) -> None:
    ended = _stage_failed(StageFailedError("sft", code, ["error: nothing there"]), "simpleseg run")
    assert ended.exit_code == exit_code
    assert said in " ".join(capsys.readouterr().err.split())
