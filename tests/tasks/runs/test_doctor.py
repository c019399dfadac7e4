"""The doctor finds what is wrong and says what to do about it."""

import socket
import subprocess
from pathlib import Path

import pytest

from simpleseg_core.environment import bypass_proxies
from tasks.runs.doctor import Check, checks


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


def test_a_proxy_that_would_be_asked_for_this_machine_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy.test:3128")
    through = _check("proxy", tmp_path)
    assert not through.ok and "127.0.0.1" in through.cure
    bypass_proxies()
    around = _check("proxy", tmp_path)
    assert around.ok and "loopback goes around it" in around.detail
    assert "secret" not in around.detail + through.detail + through.cure


def test_a_place_that_takes_no_files_is_not_writable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    check = _check("write access", file)
    assert not check.ok
    assert str(file) in check.cure
