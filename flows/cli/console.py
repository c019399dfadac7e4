"""How commands speak: results on standard output, errors on standard error with an exit code."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.markup import escape

from tasks.graph import STAGES
from tasks.runs.console import PlainConsole

FAILED = 1
"""A stage failed."""
BAD_INPUT = 2
INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for programs.")]

out = PlainConsole(highlight=False)
err = PlainConsole(stderr=True, highlight=False)


def fail(message: str, code: int = BAD_INPUT) -> typer.Exit:
    """Print an error; raise what this returns."""
    err.print(f"[red bold]error:[/] {escape(message)}", soft_wrap=True)
    return typer.Exit(code)


def stage_names() -> list[str]:
    """For the shell's completion."""
    return list(STAGES)


@contextmanager
def bad_input() -> Iterator[None]:
    """Errors about what the user gave end in one clear message, without a traceback."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise fail(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise fail(f"{error.filename}: {error.strerror}") from None
    except ValueError as error:  # ConfigError and NoWorkspaceError are ValueErrors
        raise fail(str(error)) from None
