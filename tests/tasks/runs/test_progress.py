"""Progress travels from a stage to the pipeline in its output, and into logs now and then."""

import logging
import sys

import pytest

from tasks.runs.progress import PROGRESS_VARIABLE, LogProgress, ProgressMessage, duration, open_progress, parse_progress


def test_messages_tell_the_start_and_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, "messages")
    with open_progress() as progress:
        progress.start(1000, "images")
        for _ in range(1000):
            progress.advance()
    messages = [parse_progress(line) for line in capsys.readouterr().out.strip("\n").split("\n")]
    assert messages[0] == ProgressMessage("images", 0, 1000)
    assert messages[-1] == ProgressMessage("images", 1000, 1000)
    assert len(messages) < 100  # not one a step


@pytest.mark.parametrize(
    "line", ["", "loss 0.5", "progress [1, 2]", "\x1eprogress [1]", "\x1eprogress {", "\x1eprogress 5"]
)
def test_other_lines_are_not_progress(line: str) -> None:
    assert parse_progress(line) is None


def test_a_log_gets_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with caplog.at_level(logging.INFO), open_progress() as progress:
        progress.start(2, "shards")
        progress.advance(2)
    assert caplog.messages == ["shards: 0 of 2", "shards: 2 of 2"]


def test_a_line_says_how_it_goes_and_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("tasks.runs.progress.time.monotonic", lambda: now)
    progress = LogProgress()
    with caplog.at_level(logging.INFO):
        progress.start(110, "sft")
        progress.advance(60)  # done before the run was interrupted: no pace
        now += 20
        progress.advance(10, "loss 0.52")
    assert caplog.messages[-1] == "sft: 70 of 110, loss 0.52, 80 s left"


def test_notes_reach_the_pipeline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, "messages")
    with open_progress() as progress:
        progress.start(1, "rl")
        progress.advance(1, "reward 0.7")
    last = parse_progress(capsys.readouterr().out.strip("\n").split("\n")[-1])
    assert last is not None and str(last) == "rl: 1 of 1, reward 0.7"


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (150, "2 min"), (3599, "1 h 0 min")])
def test_durations_are_coarse(seconds: float, said: str) -> None:
    assert duration(seconds) == said
