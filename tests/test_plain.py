"""Texts of others at a terminal and in logs: escape sequences are seen, not obeyed; secrets are not seen."""

import io
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from simpleseg_core.plain import clean_logs, one_line, plain, visible
from tasks.runs.console import PlainConsole

_HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\r\u202ecod\udc80.exe"


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_can_be_sent_to_a_terminal(text: str) -> None:
    shown = visible(text)
    assert all(character in "\n\t" or character >= " " for character in shown)
    shown.encode()
    assert visible(shown) == shown
    assert len(one_line(text, 40)) <= 40 and "\n" not in one_line(text, 40)


def test_ordinary_text_of_any_script_is_not_touched() -> None:
    assert plain("ein Fuß, 犬, מכונית\n\tok") == "ein Fuß, 犬, מכונית\n\tok"


def test_a_console_sends_its_own_styles_and_nobody_else_s() -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, color_system="standard", highlight=False, width=300)
    table = Table(_HOSTILE, box=None)
    table.add_row(_HOSTILE)
    with Progress(TextColumn("{task.description}"), console=console) as bars:
        bars.add_task(_HOSTILE, total=1)
        console.print(f"[green]{_HOSTILE}[/]", Text(_HOSTILE), table)
    sent = file.getvalue()
    assert "\x1b[32m" in sent  # ours: green
    assert not re.findall("\x1b\\[31m|\x1b\\]|[\x07\x9b\u202e\udc80]", sent)
    assert sent.count("\\x1b[31mred") >= 5
    console.print("to s3://KEY:hunter2@bucket")
    assert "s3://***@bucket" in file.getvalue()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    before = logging.getLogRecordFactory()
    handler = logging.StreamHandler(io.StringIO())
    logger = logging.getLogger("tests.plain")
    logger.addHandler(handler)
    clean_logs()
    yield handler.stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_logs_and_their_tracebacks_are_plain(log: io.StringIO) -> None:
    logger = logging.getLogger("tests.plain")
    try:
        raise ValueError(f"cannot read {_HOSTILE}")
    except ValueError:
        logger.exception("row %s of s3://KEY:hunter2@bucket", _HOSTILE)
    said = log.getvalue()
    assert not re.findall("[\x1b\x07\x9b\r\u202e\udc80]|hunter2", said)
    assert said.count("\\x1b[31mred") == 2
    assert "Traceback" in said and "s3://***@bucket" in said


def test_a_record_without_anything_to_hide_keeps_its_arguments(log: io.StringIO) -> None:
    record = logging.getLogger("tests.plain").makeRecord("x", logging.INFO, "f", 1, "%d of %d", (3, 5), None)
    assert (record.args, record.getMessage()) == ((3, 5), "3 of 5")
