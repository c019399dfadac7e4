"""What a foreign web page can do with our servers (nothing), and what their user and our own programs can (all)."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from mlflow import MlflowClient
from playwright.sync_api import BrowserContext, Page
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from simpleseg_core.config.files import load_config
from simpleseg_core.files import read_state
from simpleseg_core.refshapes.site import serve_folder
from tasks.runs.workspace import store_uri
from tests.browser import browsing
from tests.flows.site import HTTP, Site, serving, wait_for
from tests.tiny_pipeline import runs

pytestmark = pytest.mark.slow

_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("servers")) as site:
        yield site


_ACTIONS = [
    ("prefect", "POST", "/api/deployments/filter", {}),
    ("prefect", "GET", "/api/deployments/DEPLOYMENT", None),
    ("prefect", "PATCH", "/api/deployments/DEPLOYMENT", {"pull_steps": [], "description": "mine"}),
    ("prefect", "POST", "/api/deployments/DEPLOYMENT/create_flow_run", {}),
    ("prefect", "DELETE", "/api/deployments/DEPLOYMENT", None),
    ("prefect", "GET", "/", None),
    ("mlflow", "GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=5", None),
    ("mlflow", "POST", "/ajax-api/2.0/mlflow/experiments/create", {"name": "mine"}),
    ("mlflow", "POST", "/api/2.0/mlflow/runs/delete", {"run_id": "RUN"}),
    ("mlflow", "PUT", "/api/2.0/mlflow-artifacts/artifacts/mine.html", {}),
    ("mlflow", "GET", "/get-artifact?path=page.html&run_id=RUN", None),
]


def _foreign(site: Site) -> dict[str, tuple[int, dict[str, str]]]:
    """How a page may come, most with a key that it cannot have, and the status that it gets."""
    browser = {"Cookie": "=".join(site.servers.access.cookie)}
    return {
        "no key": (401, {}),
        "wrong key": (401, {"Authorization": "Bearer wrong"}),
        "foreign origin": (403, site.key | {"Origin": "http://evil.test"}),
        "origin of another port": (403, browser | {"Origin": "http://127.0.0.1:9"}),
        "origin of a sandbox": (403, browser | {"Origin": "null"}),
        "rebound name": (403, site.key | {"Host": "evil.test:4200", "Origin": "http://evil.test:4200"}),
        "no page, wrong name": (403, site.key | {"Host": "evil.test"}),
        "script or picture of another site": (
            403,
            browser | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        ),
        "another port's script": (403, browser | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}),
        "frame": (
            403,
            browser | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        ),
    }


@pytest.mark.parametrize(("server", "method", "path", "json"), _ACTIONS)
def test_a_foreign_page_neither_reads_nor_writes_nor_starts_nor_deletes(
    site: Site, server: str, method: str, path: str, json: Any
) -> None:
    path, before = path.replace("DEPLOYMENT", site.deployment).replace("RUN", site.mlflow_run), site.started()
    for how, (status, headers) in _foreign(site).items():
        reply = site.ask(server, method, path, headers, json)
        assert reply.status_code == status, how
        preflight = headers | {
            "Origin": headers.get("Origin", "http://evil.test"),
            "Access-Control-Request-Method": method,
        }
        asked = site.ask(server, "OPTIONS", path, preflight)
        assert asked.status_code == 403, how
        assert not [name for name in {**reply.headers, **asked.headers} if name.startswith("access-control")], how
    assert site.prefect("GET", f"/deployments/{site.deployment}")["description"] != "mine"
    assert site.started() == before
    client = MlflowClient(store_uri(site.workspace, load_config(site.workspace.params).tracking))
    assert client.get_run(site.mlflow_run).info.lifecycle_stage == "active"
    assert client.get_experiment_by_name("mine") is None


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out"])
def test_streams_are_closed_to_foreign_pages(site: Site, path: str) -> None:
    url = site.servers.prefect.replace("http:", "ws:") + path
    cookie = {"Cookie": "=".join(site.servers.access.cookie)}
    for origin, headers in (("http://127.0.0.1:9", cookie), ("http://evil.test", site.key), (None, {})):
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, origin=origin, additional_headers=headers, proxy=None)
    with connect(url, origin=site.servers.prefect, additional_headers=cookie, subprotocols=["prefect"], proxy=None):
        pass


def test_the_key_lies_where_only_the_user_reads_it(site: Site) -> None:
    state = site.workspace.ui_state
    assert read_state(state)["key"] == site.servers.access.key
    assert (stat.S_IMODE(state.stat().st_mode), stat.S_IMODE(state.parent.stat().st_mode)) == (0o600, 0o700)
    logged = b"".join(log.read_bytes() for log in [*state.parent.glob("*.log"), site.workspace.root / "printed"])
    assert site.servers.access.key.encode() not in logged


def test_artifacts_are_downloads_that_run_no_scripts(site: Site) -> None:
    for name in ("page.html", "picture.svg"):
        reply = site.ask("mlflow", "GET", f"/get-artifact?path={name}&run_id={site.mlflow_run}", site.key)
        assert reply.status_code == 200
        assert reply.headers["Content-Disposition"].startswith("attachment")
        assert reply.headers["Content-Security-Policy"].startswith("sandbox")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_a_served_run_executes_our_flow_whatever_its_deployment_says(site: Site, flow_run: dict[str, Any]) -> None:
    assert not list(site.workspace.root.glob("owned-*"))
    assert flow_run["state"]["type"] == "COMPLETED", flow_run["state"]


def test_a_cancelled_run_ends_with_all_that_it_has_started_and_the_next_one_goes_on(site: Site) -> None:
    root = site.workspace.root
    (root / "wait").touch()
    first = site.run("pipeline", until="ingest", again=True)
    second = site.run("pipeline", until="ingest")
    stages = wait_for(lambda: _stages(root), 120)
    assert site.state(second) in {"SCHEDULED", "PENDING"}  # one run at a time in a working copy
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
    site.prefect("POST", f"/flow_runs/{first}/set_state", cancelling)
    wait_for(lambda: not any(stage.is_running() for stage in stages), 60)
    wait_for(lambda: site.state(first) == "CANCELLED", 60)
    (root / "wait").unlink()
    assert wait_for(lambda: _ended(site.prefect("GET", f"/flow_runs/{second}")), 200)["state_type"] == "COMPLETED"
    assert runs(site.workspace)[-1:] == ["images"]


def _stages(root: Path) -> list[psutil.Process]:
    """The processes of stages that run in a working copy."""
    found = psutil.process_iter(["cmdline", "cwd"])
    return [each for each in found if each.info["cwd"] == str(root) and "stage.py" in (each.info["cmdline"] or ())]


@pytest.fixture(scope="module")
def flow_run(site: Site) -> dict[str, Any]:
    """A run, ended, of a deployment whose record names a script, another flow, another folder and environment."""
    root = site.workspace.root
    (root / "mine.py").write_text(f"open({str(root / 'owned-flow')!r}, 'w')\n")
    script = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {root}/owned-step"}}
    record = {"pull_steps": [script], "entrypoint": "mine.py:flow", "path": str(root)}
    site.prefect("PATCH", f"/deployments/{site.deployment}", record)
    assert site.prefect("GET", f"/deployments/{site.deployment}")["pull_steps"] == [script]
    started = site.prefect(
        "POST",
        f"/deployments/{site.deployment}/create_flow_run",
        {
            "parameters": {"params": {"until": "ingest"}},
            "job_variables": {"env": {"PYTHONSTARTUP": str(root / "mine.py")}},
        },
    )
    return wait_for(lambda: _ended(site.prefect("GET", f"/flow_runs/{started['id']}")), 200)


def _ended(run: dict[str, Any]) -> dict[str, Any] | None:
    return run if run["state_type"] in _FINAL else None


@pytest.fixture(scope="module")
def context(site: Site) -> Iterator[tuple[BrowserContext, dict[str, str]]]:
    """A browser that has followed both links, and the links."""
    with browsing() as browser:
        links = site.links()
        yield browser.new_context(), links


def test_the_link_opens_both_pages_once(
    site: Site, flow_run: dict[str, Any], context: tuple[BrowserContext, dict[str, str]]
) -> None:
    browser, links = context
    page = browser.new_page()
    outside: list[str] = []
    page.on("request", lambda asked: outside.append(asked.url) if asked.url.startswith("http") else None)
    page.on("requestfailed", lambda asked: outside.remove(asked.url) if asked.failure == "csp" else None)
    page.goto(links["Prefect"])
    page.goto(f"{site.servers.prefect}/runs")
    page.get_by_text(flow_run["name"]).first.wait_for(timeout=60_000)
    page.goto(links["MLflow"])
    page.goto(f"{site.servers.mlflow}/#/experiments")
    page.get_by_text("outlines").first.wait_for(timeout=60_000)
    assert not [url for url in outside if "//127.0.0.1:" not in url], "a page calls home"
    for link in links.values():
        assert HTTP.get(link).status_code == 401


_TRY = """async ([url, method, body]) => {
    const options = {method, credentials: 'include'}
    if (body !== null) options.body = JSON.stringify(body)
    const simple = await fetch(url, {...options, mode: 'no-cors'}).then(reply => reply.type, () => 'failed')
    const full = await fetch(url, {...options, headers: {'Content-Type': 'application/json'}}).then(
        reply => 'status ' + reply.status, () => 'failed')
    return [simple, full]
}"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_in_the_same_browser_a_page_of_another_port_gets_nowhere(
    site: Site, tmp_path: Path, context: tuple[BrowserContext, dict[str, str]], host: str
) -> None:
    browser, links = context
    (tmp_path / "index.html").write_text("<!doctype html><title>foreign</title>")
    page, before = browser.new_page(), site.started()
    for link in links.values():
        page.goto(link)
    with serve_folder(tmp_path) as url:
        page.goto(f"{url.replace('127.0.0.1', host)}/index.html")
        for server, method, path, json in _ACTIONS:
            _assert_blocked(page, site, server, method, path, json)
    assert site.prefect("GET", f"/deployments/{site.deployment}")["description"] != "mine"
    assert site.started() == before


def _assert_blocked(page: Page, site: Site, server: str, method: str, path: str, json: Any) -> None:
    base = site.servers.prefect if server == "prefect" else site.servers.mlflow
    path = path.replace("DEPLOYMENT", site.deployment).replace("RUN", site.mlflow_run)
    simple, full = page.evaluate(_TRY, [base + path, method, None if method == "GET" else json])
    assert simple in ("opaque", "failed")
    assert full == "failed"


def test_a_server_that_our_command_left_behind_ends(site: Site) -> None:
    """The command's death closes the servers' standard input, however it died."""
    code = (
        "import os, threading; from pathlib import Path; from flows.servers.find import _start_temporary; "
        "from tasks.runs.workspace import Workspace; _start_temporary(Workspace(Path('.'))); "
        "print(os.environ['PREFECT_API_URL'], flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=site.workspace.root, env=site.environment, capture_output=True, text=True
    )
    url = killed.stdout.strip()
    assert url.startswith("http://127.0.0.1:"), killed.stderr
    wait_for(lambda: not _listens(url), 60)


def _listens(url: str) -> bool:
    try:
        HTTP.get(url, timeout=5)
    except httpx.TransportError:
        return False
    return True
