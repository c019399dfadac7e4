"""Files that are there whole or not at all, whatever kills the writer; and small JSON files read without trust."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes the place of `path` when the block ends without an error.

    It is on the disk before it has the name, so a machine that loses power leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        _flush_one(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def flush(path: Path) -> None:
    """Put a file, or everything in a folder, on the disk."""
    for each in (*path.rglob("*"), path):
        _flush_one(each)


def _flush_one(path: Path) -> None:
    """Put the bytes of a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, making its folder."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_state(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty where there is none or it is broken."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return state if isinstance(state, dict) else {}


def write_private_json(path: Path, value: object) -> None:
    """Write a value as JSON that nobody but the user may read."""
    with replacing(path) as partial:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600, exist_ok=False)
        partial.write_text(json.dumps(value), encoding="utf-8")
