"""The documents: what they show can be pasted."""

import re
from pathlib import Path

_CONTINUED = re.compile(r"^.*$(?=\n {8,}--)", re.MULTILINE)
"""A line of a command whose next line, indented further, begins with an option."""


def test_a_command_on_several_lines_can_be_pasted(repository: Path) -> None:
    lines = [line for file in (repository / "docs").rglob("*.md") for line in _CONTINUED.findall(file.read_text())]
    assert lines
    assert [line for line in lines if not line.endswith("\\")] == []


def test_what_to_touch_to_add_something_is_there(repository: Path) -> None:
    table = (repository / "CONTRIBUTING.md").read_text().partition("## To add something")[2]
    named = [name for name in re.findall(r"`([\w/.]+)`", table) if "/" in name and "NAME" not in name]
    assert len(named) > 10
    assert [name for name in named if not (repository / name).exists()] == []


def test_the_index_of_decisions_names_each_with_its_status(repository: Path) -> None:
    folder = repository / "docs" / "decisions"
    row = re.compile(r"^\| \[(\d{4})\]\((\S+)\) \| .* \| (in force|replaced by \d{4}.*) \|$", re.MULTILINE)
    rows = row.findall((folder / "README.md").read_text())
    assert [name for _, name, _ in rows] == sorted(file.name for file in folder.glob("[0-9]*.md"))
    assert len({number for number, *_ in rows}) == len(rows), "two decisions share a number"
    replaced = {name for _, name, status in rows if status.startswith("replaced")}
    assert replaced == {file.name for file in folder.glob("[0-9]*.md") if "Replaced by " in file.read_text()}


def test_every_stop_of_the_tour_is_there(repository: Path) -> None:
    stops = re.findall(r"`([\w/]+\.py)`\s+`(\w+)`", (repository / "docs" / "tour.md").read_text())
    assert len(stops) > 20
    missing = [
        (file, name)
        for file, name in stops
        if not re.search(rf"^(?:(?:async )?def |class )?{name}\b", (repository / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_links_between_documents_lead_somewhere(repository: Path) -> None:
    files = [*repository.glob("*.md"), *(repository / "docs").rglob("*.md")]
    links = [(file, link) for file in files for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text())]
    assert [f"{file.name}: {link}" for file, link in links if not (file.parent / link).exists()] == []
