"""Chat templates are programs of strangers: they come with a model's files, and may run for ever."""

import ctypes
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache

from jinja2 import Environment, TemplateError

_PATIENCE_S = 10.0
_LONGEST = 1_000_000
"""Characters of a rendered conversation."""


class _TooLongError(Exception):
    """Raised within a rendering whose time is over."""


def render_within(
    render: Callable[[], str], templates: Iterable[str], name: str, patience_s: float = _PATIENCE_S
) -> str:
    """What a chat template makes of a conversation.

    Args:
        render: renders it, with Jinja's sandbox, in this thread.
        templates: the texts of what it may render.
        name: of the model, for the message.

    Raises:
        ValueError: the template cannot be used: it does not end, writes without end, or fails.
    """
    try:
        if any(map(_computes_powers, templates)):
            raise ValueError(f"{name}: its chat template computes powers (`**`), which may take for ever")
        text = _timed(render, patience_s)
    except _TooLongError:
        raise ValueError(f"{name}: its chat template does not end within {patience_s:g} s") from None
    except (TemplateError, ArithmeticError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"{name}: its chat template cannot be used: {error}") from error
    if len(text) > _LONGEST:
        raise ValueError(f"{name}: its chat template writes {len(text)} characters for one conversation")
    return text


def _timed(render: Callable[[], str], patience_s: float) -> str:
    """Call it; once the time is over, the exception is raised in the middle of it."""
    thread, ended, lock = ctypes.c_ulong(threading.get_ident()), threading.Event(), threading.Lock()

    def stop() -> None:
        with lock:
            if not ended.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TooLongError))

    timer = threading.Timer(patience_s, stop)
    timer.daemon = True
    timer.start()
    try:
        return render()
    finally:
        with lock:
            ended.set()
        timer.cancel()


@lru_cache(maxsize=64)
def _computes_powers(template: str) -> bool:
    """Jinja bounds loops of one `range`, and nothing that a single operation computes, some of it when it compiles."""
    words = Environment().lex(template)  # noqa: S701 (read, never rendered)
    return any((kind, word) == ("operator", "**") for _, kind, word in words)
