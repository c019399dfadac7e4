"""Progress travels from a stage to the pipeline in its output, and into logs now and then."""

import logging
import sys

import pytest

from tasks.progress import PROGRESS_VARIABLE, ProgressMessage, open_progress, parse_progress


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
