"""The command line `simpleseg`."""

import gc
import sys
from traceback import format_exc

from simpleseg_core.environment import apply_defaults
from simpleseg_core.plain import clean_logs

__all__ = ["main"]


def main() -> None:
    """Run the command line; process-wide defaults come first, before any heavy library is imported."""
    apply_defaults()
    clean_logs()
    from flows.cli.app import app

    try:
        app()
    except Exception:  # ours to cure: the traceback, as text
        from flows.cli.console import FAILED, err

        err.print(format_exc(), markup=False, soft_wrap=True)
        sys.exit(FAILED)
    finally:
        gc.freeze()  # at exit Python would search a million objects of Prefect and MLflow for garbage: most of a second
