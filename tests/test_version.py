"""The version is written in pyproject.toml; whoever else names it names the same."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def ours(repository: Path) -> str:
    return str(tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"])


def test_the_installed_package_has_it(ours: str) -> None:
    assert version("simpleseg") == ours


def test_the_citation_names_it(repository: Path, ours: str) -> None:
    assert yaml.safe_load((repository / "CITATION.cff").read_text())["version"] == ours


def test_the_changelog_has_nothing_later(repository: Path, ours: str) -> None:
    """What is not released stands first; of the releases, the newest is this version."""
    headings = re.findall(r"^## (?:\[?(Unreleased|\d+\.\d+\.\d+)\b)", (repository / "CHANGELOG.md").read_text(), re.M)
    assert headings
    assert "Unreleased" not in headings[1:]
    assert [each for each in headings if each != "Unreleased"][:1] in ([], [ours])


def test_no_module_names_another(repository: Path) -> None:
    files = [file for package in ("simpleseg_core", "tasks", "flows") for file in (repository / package).rglob("*.py")]
    assert files
    assert [file for file in files if re.search(r"^__version__", file.read_text(), re.M)] == []
