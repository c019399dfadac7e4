"""Text on its way to a terminal or a log: control characters are shown instead of sent, and secrets are masked."""

import logging
import re
from typing import Any

from simpleseg_core.config.secrets import redact

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal, turns the direction of text or cannot be encoded; line feeds and tabs stay."""


def visible(text: str) -> str:
    """A text whose control characters are written out (`\\x1b`), line feeds and tabs excepted."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain(text: str) -> str:
    """A text that may be shown to anybody: `visible`, and without secrets."""
    return redact(visible(text))


def one_line(text: str, most: int) -> str:
    """A text as one plain line of at most `most` characters."""
    line = " ".join(plain(text[: 4 * most]).split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 3]}..."


def clean_logs() -> None:
    """Make every record that this process logs plain, tracebacks too, whatever handler writes it."""
    logging.setLogRecordFactory(_plain_record)


def _plain_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **kwargs)
    try:
        said = record.getMessage()
    except Exception:  # arguments that do not fit: the handler says so
        return record
    if (shown := plain(said)) != said:
        record.msg, record.args = shown, None
    if record.exc_info:
        record.exc_text = plain(logging.Formatter().formatException(record.exc_info))
    return record
