"""What a reader may rely on: nothing is there for the tests alone, and an architecture has one home."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from simpleseg_core.kinds import ARCHITECTURES

FORMER = {"Picture"}
"""A name of 0.1, for scripts of then; it goes with `_startup/moved.py`."""


def sources(repository: Path, *folders: str) -> list[Path]:
    command = ["git", "ls-files", *(f"{folder}/*.py" for folder in folders)]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    return [repository / name for name in listed.stdout.splitlines()]


def named(file: Path, tree: ast.Module) -> Iterator[str]:
    """What a file uses; an `__init__` that hands a name on does not use it."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                yield name
            case ast.alias(name=name) | ast.Constant(value=str(name)) if file.name != "__init__.py":
                yield name


def defined(tree: ast.Module) -> Iterator[str]:
    """What a module has, but for functions that a decorator registers."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name, decorator_list=decorators):
                if not any(isinstance(each, ast.Call) for each in decorators):
                    yield name
            case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name


def test_nothing_is_there_for_the_tests_alone(repository: Path) -> None:
    packages = {file: ast.parse(file.read_text()) for file in sources(repository, "simpleseg_core", "tasks", "flows")}
    assert len(packages) > 200
    others = {file: ast.parse(file.read_text()) for file in sources(repository, "benchmarks")}
    used = {name for file, tree in (packages | others).items() for name in named(file, tree)}
    for starts in ("pyproject.toml", "simpleseg_core/_startup/simpleseg.pth"):
        used |= set(re.findall(r"\w+", (repository / starts).read_text()))
    unused = {name for tree in packages.values() for name in defined(tree)} - used
    assert {name for name in unused if not name.startswith("__")} == FORMER


def test_an_architecture_is_named_in_its_own_files_and_in_profiles(repository: Path) -> None:
    word = re.compile(rf"\b(?:{'|'.join(ARCHITECTURES.names())})\b|\b(?:Kimi|Qwen)[\w.]*-VL\b")
    files = sources(repository, "simpleseg_core", "tasks", "flows")
    naming = {file.relative_to(repository / "simpleseg_core") for file in files if word.search(file.read_text())}
    homes = [Path("models", folder) for folder in ("architectures", *ARCHITECTURES.names())]
    strays = {str(file) for file in naming if not any(file.is_relative_to(home) for home in homes)}
    assert strays == {"config/annotate.py", "config/training.py"}, "defaults, which a profile may change"
