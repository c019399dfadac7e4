"""The command line `simpleseg`."""

from simpleseg_core.environment import apply_defaults

__all__ = ["main"]


def main() -> None:
    """Run the command line; process-wide defaults come first, before any heavy library is imported."""
    apply_defaults()
    from flows.cli.app import app

    app()
