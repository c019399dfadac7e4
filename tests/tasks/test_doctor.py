"""The doctor finds what is wrong and says what to do about it."""

import socket
import subprocess
from pathlib import Path

import pytest

from tasks.doctor import Check, checks


@pytest.fixture(scope="module")
def healthy(repository: Path) -> dict[str, Check]:
    return {check.name: check for check in checks(repository, ports={})}


def _check(name: str, root: Path, ports: dict[str, int] | None = None) -> Check:
    return next(check for check in checks(root, ports or {}) if check.name.startswith(name))


@pytest.mark.parametrize("name", ["Python", "write access", "git", "vLLM"])
def test_the_checkout_under_test_is_sound(healthy: dict[str, Check], name: str) -> None:
    assert healthy[name].ok, healthy[name].detail


def test_every_problem_has_a_cure(tmp_path: Path) -> None:
    for name in ("git", "DVC"):
        check = _check(name, tmp_path)
        assert not check.ok
        assert check.cure


def test_a_repository_without_a_commit_is_not_enough(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert not _check("git", tmp_path).ok


def test_a_port_in_use_is_told_from_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "in use" in _check(f"port {port}", tmp_path, {"MLflow": port}).detail
    assert "free for MLflow" in _check(f"port {port}", tmp_path, {"MLflow": port}).detail


def test_a_place_that_takes_no_files_is_not_writable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    check = _check("write access", file)
    assert not check.ok
    assert str(file) in check.cure
