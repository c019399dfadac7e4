"""The contracts of pyproject.toml on who may import whom: kept as the code stands, and broken by what they forbid."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tasks.graph import STAGES


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}  # this environment imports the core when Python starts
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(repository / "pyproject.toml", folder)
    for package in ("simpleseg_core", "tasks", "flows"):
        shutil.copytree(repository / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_contracts_are_kept(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("simpleseg_core/rewards/terms/iou.py", "import torch"),
        ("tasks/contour.py", "import mlflow"),
        ("simpleseg_core/data/records.py", "import simpleseg_core.evaluation"),
        ("simpleseg_core/training/objectives/advantages.py", "import tasks.graph"),
        ("tasks/detect.py", "import tasks.runs.stage"),
        ("tasks/shards/parts.py", "import tasks.predict"),
        ("simpleseg_core/rewards/terms/iou.py", "import prefect"),
    ],
)
def test_an_import_that_they_forbid_breaks_them(copy: Path, file: str, planted: str) -> None:
    path = copy / file
    before = path.read_text()
    path.write_text(f"{before}\n{planted}\n")
    try:
        done = lint(copy)
    finally:
        path.write_text(before)
    assert done.returncode == 1
    assert file.removesuffix(".py").replace("/", ".") in done.stdout


def test_who_starts_a_training_and_follows_it_imports_nothing_heavy(repository: Path) -> None:
    """Each of the processes of a training would take seconds longer."""
    code = "import flows.cli, tasks.pretrain, tasks.sft, tasks.rl, simpleseg_core.training.launch, sys"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "transformers", "vllm", "mlflow", "ray"} & set(done.stdout.split())


def test_the_graph_alone_knows_the_nodes_and_no_contract_looks_away(repository: Path) -> None:
    graph = grimp.build_graph("tasks", "flows", cache_dir=None)
    assert {name: graph.find_modules_that_directly_import(f"tasks.{name}") for name in STAGES} == {
        name: set() for name in STAGES
    }
    contracts = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [each["name"] for each in contracts if "ignore_imports" in each] == []


def test_no_file_outside_the_tests_needs_much_scrolling(repository: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=repository, capture_output=True, text=True, check=True)
    files = [name for name in listed.stdout.splitlines() if not name.startswith("tests/")]
    assert len(files) > 200
    assert [name for name in files if len((repository / name).read_text().splitlines()) > 300] == []
