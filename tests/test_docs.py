"""The documents: what they show can be pasted."""

import re
from pathlib import Path

_CONTINUED = re.compile(r"^.*$(?=\n {8,}--)", re.MULTILINE)
"""A line of a command whose next line, indented further, begins with an option."""


def test_a_command_on_several_lines_can_be_pasted(repository: Path) -> None:
    lines = [line for file in (repository / "docs").rglob("*.md") for line in _CONTINUED.findall(file.read_text())]
    assert lines
    assert [line for line in lines if not line.endswith("\\")] == []
