"""Small JSON files of state, written atomically and read without trust."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_state(path: Path) -> dict[str, Any]:
    """The mapping in a state file; empty where there is none or a crash has left half of one."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(path: Path, state: Mapping[str, object]) -> None:
    """Write a state file so that a reader, or the run after a crash, sees the old one or the new one."""
    write_text(path, json.dumps(state, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
