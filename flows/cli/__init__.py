"""The command line `simpleseg`."""

import gc

from simpleseg_core.environment import apply_defaults

__all__ = ["main"]


def main() -> None:
    """Run the command line; process-wide defaults come first, before any heavy library is imported."""
    apply_defaults()
    from flows.cli.app import app

    try:
        app()
    finally:
        gc.freeze()  # at exit Python would search a million objects of Prefect and MLflow for garbage: most of a second
