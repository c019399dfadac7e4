"""MLflow's database in a file: whether it can be used, and artifacts that follow a copied or moved working copy."""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tasks.runs.workspace import Workspace

_log = logging.getLogger(__name__)
_PATIENCE_S = 2.0
"""How long somebody else may write before the database counts as locked."""
_PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))


def check_usable(uri: str) -> None:
    """Look into a SQLite store before MLflow does, which tries for minutes what is locked, damaged or not to be made.

    Raises:
        ValueError: another program holds it, it is damaged, or cannot be made; the message says how to mend it.
    """
    file = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///"):
        return
    if not file.exists():
        if file.parent.exists() and not os.access(file.parent, os.W_OK):
            raise ValueError(f"{file} cannot be made: make {file.parent} writable")
        return
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                database.execute(f"SELECT 1 FROM '{table}' LIMIT 1")  # noqa: S608 (a name that the database gave)
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ValueError(f"{file} is locked by another program: end it") from None
        raise ValueError(f"{file} cannot be used ({error}): move it away, a new one is made, or restore it") from None


def rehome(workspace: Workspace, uri: str) -> None:
    """Let the artifacts of a store that lies in the working copy be looked for there, wherever it was before.

    A store elsewhere, and places outside a working copy's `mlruns`, stay as they are.
    """
    file = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not file.is_relative_to(workspace.root):
        return
    here = (workspace.root / "mlruns").as_uri()
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        for before in _former(database, here):
            for table, column in _PLACES:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR {column} LIKE ?",  # noqa: S608 (our own names)
                    (here, len(before) + 1, before, f"{before}/%"),
                )
            _log.info("MLflow's artifacts are looked for in %s now, not in %s", here, before)


def _former(database: sqlite3.Connection, here: str) -> list[str]:
    """Places called `mlruns` that experiments have on this machine's disk, other than the present one."""
    rows = database.execute("SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'")
    return [place for (place,) in rows if place != here and place.endswith("/mlruns")]
