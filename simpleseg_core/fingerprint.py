"""The one mark for "made from these inputs": what carries it may be kept, or gone on with, as long as it is equal."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from simpleseg_core.config import Section, decisive

Input = Section | Path | Mapping[str, object] | Sequence[object] | str | float | None


def fingerprint(**parts: Input) -> str:
    """A SHA-256 in hex of named inputs.

    Args:
        parts: configuration sections, whose operational settings count for nothing; paths, which stand for what the
            file or all files of the folder hold; plain values.

    Raises:
        OSError: a file cannot be read.
    """
    plain = {name: _contents(part) if isinstance(part, Path) else decisive(part) for name, part in parts.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def weights(model: str, *, loaded: bool = True) -> Input:
    """A model as an input: what its folder holds, or its name on the hub; None where it is not loaded."""
    folder = Path(model).expanduser()
    return (folder if folder.is_dir() else model) if loaded else None


def file_sum(path: Path) -> str:
    """SHA-256 of a file in hex, as `sha256sum` prints it."""
    with path.open("rb") as body:
        return hashlib.file_digest(body, "sha256").hexdigest()


def _contents(path: Path) -> str | dict[str, str]:
    if not path.is_dir():
        return file_sum(path)
    return {file.relative_to(path).as_posix(): file_sum(file) for file in sorted(path.rglob("*")) if file.is_file()}
