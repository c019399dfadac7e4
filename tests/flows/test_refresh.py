"""The refresh says what came new: images, reasons, licences, examples."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.flows import load_flow_from_entrypoint
from prefect.runner import Runner
from prefect.testing.utilities import prefect_test_harness
from typer.testing import CliRunner

from flows import servers
from flows.cli.app import app
from flows.deployments import register
from flows.refresh import RefreshParams, look_at, refresh, served, summary
from flows.servers import launch
from tasks.runs.lock import BusyError, alone
from tasks.runs.workspace import Workspace
from tests.fetch.server import Server, jpeg
from tests.fetch.test_ingest import run, table
from tests.tiny_pipeline import runs


def test_a_summary_counts_only_what_is_new(tmp_path: Path) -> None:
    with Server() as server:
        for number in range(8):
            server.image(f"/{number}.jpg", jpeg(number))
        old = [f"/{number}.jpg" for number in range(3)]
        new = ["/3.jpg", "/4.jpg", "/5.jpg", "/gone.jpg"]
        table(tmp_path / "meta" / "a.parquet", server, old, license=["CC0"] * 3)
        web = table(tmp_path / "meta" / "b.parquet", server, [], license=[])
        run(tmp_path, web, server)
        before = look_at(tmp_path / "images")
        table(tmp_path / "meta" / "b.parquet", server, new, license=["CC-BY"] * 4)
        run(tmp_path, web, server)
    page = summary(before, look_at(tmp_path / "images"), {"data/dataset": "abc"}, examples=5)
    assert "**3 images added** in 1 new shards, 6 in all" in page
    assert "| http_404 | 1 |" in page
    assert "| CC-BY | 3 |" in page
    assert "CC0" not in page
    assert "| data/dataset | `abc` |" in page
    assert "![examples](data:image/jpeg;base64," in page


def test_nothing_new_is_said_shortly(tmp_path: Path) -> None:
    nothing = look_at(tmp_path)
    assert summary(nothing, nothing, {}, examples=5).startswith("**0 images added** in 0 new shards")


def test_refreshes_do_not_overlap(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with alone(workspace.refresh_lock, "a refresh"):
        with pytest.raises(BusyError, match="already runs"), alone(workspace.refresh_lock, "a refresh"):
            pass
    with alone(workspace.refresh_lock, "a refresh"):
        pass


@pytest.mark.slow
def test_a_refresh_looks_for_new_images_and_brings_the_rest_up_to_date(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_HOME", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "SIMPLESEG_OWNER_PID"):
        monkeypatch.setenv(name, "")  # what the command sets does not outlive the test
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    params = "# chosen with care\n" + workspace.params.read_text()
    workspace.params.write_text(params)
    with prefect_test_harness(server_startup_timeout=300):
        refresh(RefreshParams(until="contour"))
        result = CliRunner().invoke(app, ["refresh", "--until", "contour"])
        with alone(workspace.refresh_lock, "a refresh"):
            refused = CliRunner().invoke(app, ["refresh"])
        nightly = served("0 3 * * *", RefreshParams())
        with get_client(sync_client=True) as client:
            keys = {artifact.key for artifact in client.read_artifacts()}
            planned = client.read_deployment(asyncio.run(register(Runner(), workspace, nightly)))
    assert [str(each.schedule.cron) for each in planned.schedules] == ["0 3 * * *"]
    assert planned.global_concurrency_limit.limit == 1
    assert planned.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert load_flow_from_entrypoint(planned.entrypoint).name == "refresh"
    assert runs(workspace) == ["images", "polygons", "images"]
    assert "refresh" in keys
    assert (result.exit_code, "0 images added" in result.output) == (0, True)
    assert (refused.exit_code, "a refresh already runs" in refused.output) == (2, True)
    assert workspace.params.read_text() == params


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--cron", "0 3 * *"), "is not five fields"), (("--until", "train"), "no stage 'train'")],
)
def test_bad_input_is_refused_before_anything_starts(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    result = CliRunner().invoke(app, ["refresh", *arguments])
    assert (result.exit_code, said in result.output) == (2, True)
    assert not (workspace.state / "prefect").exists()


def test_a_schedule_that_never_comes_is_refused_before_a_server_starts(workspace: Workspace, no_prefect: None) -> None:
    result = CliRunner().invoke(app, ["refresh", "--cron", "99 3 * * *"])
    assert (result.exit_code, "'99 3 * * *' is not a schedule" in result.output) == (2, True)
    assert not list(workspace.state.glob("*.log"))


@pytest.fixture
def profiles(workspace: Workspace, no_prefect: None) -> Path:
    """A PREFECT_HOME with a profile that names a server, and one that does not."""
    home = workspace.root / "mine"
    home.mkdir()
    server = 'PREFECT_API_URL = "http://prefect.test:4200/api"'
    (home / "profiles.toml").write_text(f'active = "shared"\n[profiles.shared]\n{server}\n[profiles.alone]\n')
    os.environ["PREFECT_HOME"] = str(home)
    return home


def test_the_server_of_a_chosen_profile_is_used(workspace: Workspace, profiles: Path) -> None:
    refresh_global_settings_context()  # as a new process would read it
    assert servers.use_prefect_of(workspace) == "http://prefect.test:4200/api"
    assert os.environ["PREFECT_HOME"] == str(profiles)


def test_a_profile_without_a_server_serves_no_schedule(workspace: Workspace, profiles: Path) -> None:
    os.environ["PREFECT_PROFILE"] = "alone"
    refresh_global_settings_context()
    result = CliRunner().invoke(app, ["refresh", "--cron", "0 3 * * *"])
    assert (result.exit_code, "set PREFECT_API_URL" in result.output) == (2, True)
    assert not list(workspace.state.glob("*.log"))


@pytest.fixture
def deaf_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator["list[subprocess.Popen[bytes]]"]:
    """Instead of the servers, processes that never answer; a signal that nothing handles ends no more than the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
        return started[-1]

    def unhandled(number: int, frame: object) -> None:
        raise InterruptedError(f"signal {number}")

    monkeypatch.setattr(launch, "_start", start)
    handled = {number: signal.signal(number, unhandled) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield started
    for number, handler in handled.items():
        signal.signal(number, handler)
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_servers_that_were_starting_end_with_their_command(
    workspace: Workspace, no_prefect: None, deaf_servers: "list[subprocess.Popen[bytes]]", number: signal.Signals
) -> None:
    def send() -> None:
        while len(deaf_servers) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    result = CliRunner().invoke(app, ["refresh", "--cron", "0 3 * * *"])
    sender.join()
    assert (result.exit_code, "stopped" in result.output) == (0, True), result.output
    assert [psutil.pid_exists(process.pid) for process in deaf_servers] == [False, False]


def test_the_form_has_no_surprises() -> None:
    assert RefreshParams().until == "dataset"
    with pytest.raises(ValueError, match="until"):
        RefreshParams.model_validate({"until": "nothing"})
