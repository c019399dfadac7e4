"""How commands speak: results on standard output, errors on standard error with an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

FAILED = 1
"""A stage failed."""
BAD_INPUT = 2
INTERRUPTED = 130

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def fail(message: str, code: int = BAD_INPUT) -> typer.Exit:
    """Print an error; raise what this returns."""
    err.print(f"[red bold]error:[/] {escape(message)}", soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def bad_input() -> Iterator[None]:
    """Errors about what the user gave end in one clear message, without a traceback."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise fail(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
    except ValueError as error:  # ConfigError and NoWorkspaceError are ValueErrors
        raise fail(str(error)) from None
