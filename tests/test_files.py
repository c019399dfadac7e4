"""Files are replaced whole or not at all."""

import os
from pathlib import Path

import pytest

from simpleseg_core.files import read_state, replacing, write_json, write_text


def _write_half(path: Path) -> None:
    path.write_text("half of the ne")
    raise TypeError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as partial:
        _write_half(partial)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_state_comes_back_and_a_broken_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_state(path) == {}
    write_json(path, {"offset": 3})
    assert read_state(path) == {"offset": 3}
    for broken in (b'{"offset": ', b"[1]", b"\xff\xfe"):
        path.write_bytes(broken)
        assert read_state(path) == {}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power that goes leaves the old file or the new one, never an empty one under the name."""
    flushed, flush, file = list[tuple[str, bool]](), os.fsync, tmp_path / "a.txt"

    def watched(descriptor: int) -> None:
        flushed.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), file.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_text(file, "whole")
    assert flushed == [(f"{file}.tmp", False), (str(tmp_path), True)]
