"""A local Ray: everything on loopback, and nothing that speaks HTTP answers whoever lacks the key."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest

from simpleseg_core.config import RayConfig
from simpleseg_core.environment import apply_defaults
from simpleseg_core.ray_session import RaySession, ray_session

PAGE = {"User-Agent": "Mozilla/5.0", "Origin": "http://evil.example", "Content-Type": "text/plain"}
"""What a foreign page sends without being asked first."""
Place = tuple[str, str, list[int | None]]
"""Name of a process, the address where it listens, and what it answers to a foreign page that reads and that writes."""


def look_at_a_session() -> None:
    """Print every place where a session of this process listens; a process of its own, for Ray reads settings once."""
    apply_defaults()
    with ray_session(RayConfig()):
        family, found = os.environ["SIMPLESEG_FAMILY"], []
        for process in psutil.process_iter(["name"]):
            try:
                if process.pid != os.getpid() and process.environ().get("SIMPLESEG_FAMILY") == family:
                    found += [(process.info["name"], *each.laddr) for each in process.net_connections("inet")
                              if each.status == psutil.CONN_LISTEN]  # fmt: skip
            except psutil.Error:
                continue
        paths: list[tuple[str, bytes | None]] = [("/", None), ("/get_or_create_runtime_env", b"x")]
        sys.stdout.write(json.dumps([(name, ip, [status(port, *each) for each in paths]) for name, ip, port in found]))


def status(port: int, path: str, data: bytes | None) -> int | None:
    """Of the answer to a foreign page; None where there is no HTTP."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, headers=PAGE)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (a loopback address)
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, HTTPException):
        return None


@pytest.fixture(scope="module")
def places(repository: Path) -> list[Place]:
    ray = ("RAY_", "SIMPLESEG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ray)}
    code = "from tests.test_ray_session import look_at_a_session; look_at_a_session()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=200)
    found: list[Place] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_session_listens_on_loopback_only(places: list[Place]) -> None:
    assert places
    assert {ip.removeprefix("::ffff:") for _, ip, _ in places} == {"127.0.0.1"}


def test_a_web_page_can_ask_nothing_of_it(places: list[Place]) -> None:
    agents = [statuses for name, _, statuses in places if "Agent" in name]
    assert agents, "the agent of runtime environments installs what it is told"
    assert all(statuses == [401, 401] for statuses in agents)


@pytest.mark.parametrize(("cpus", "gpus", "workers"), [(2, 0, 2), (16, 4, 4), (4, 8, 4)])
def test_workers_that_fit_are_let_through(cpus: float, gpus: float, workers: int) -> None:
    RaySession(cpus, gpus).check_room("sft.workers", workers)


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "said"),
    [(2, 0, 3, "2 CPUs"), (16, 4, 5, "4 GPUs"), (4, 8, 5, "4 CPUs")],
)
def test_more_workers_than_a_cluster_has_are_refused_with_the_cure(
    cpus: float, gpus: float, workers: int, said: str
) -> None:
    with pytest.raises(ValueError, match=rf"sft\.workers is {workers}, each takes one of the {said}.*lower it"):
        RaySession(cpus, gpus).check_room("sft.workers", workers)
