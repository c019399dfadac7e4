"""The refresh says what came new: images, reasons, licences, examples."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.testing.utilities import prefect_test_harness
from typer.testing import CliRunner

from flows.cli.app import app
from flows.pipeline import BusyError
from flows.refresh import RefreshParams, _alone, deployment, look_at, refresh, summary
from tasks.workspace import Workspace
from tests.data.web.server import Server, jpeg
from tests.data.web.test_ingest import run, table
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
    with _alone(workspace):
        with pytest.raises(BusyError, match="already runs"), _alone(workspace):
            pass
    with _alone(workspace):
        pass


@pytest.mark.slow
def test_a_refresh_looks_for_new_images_and_brings_the_rest_up_to_date(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_HOME", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "SIMPLESEG_OWNER_PID"):
        monkeypatch.setenv(name, "")  # what the command sets does not outlive the test
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with prefect_test_harness(server_startup_timeout=300):
        refresh(RefreshParams(until="contour"))
        result = CliRunner().invoke(app, ["refresh", "--until", "contour"])
        with _alone(workspace):
            refused = CliRunner().invoke(app, ["refresh"])
        with get_client(sync_client=True) as client:
            keys = {artifact.key for artifact in client.read_artifacts()}
            planned = client.read_deployment(deployment(workspace, "0 3 * * *", RefreshParams()).apply())
    assert [str(each.schedule.cron) for each in planned.schedules] == ["0 3 * * *"]
    assert planned.global_concurrency_limit.limit == 1
    assert planned.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert load_flow_from_entrypoint(planned.entrypoint).name == "refresh"
    assert runs(workspace) == ["images", "polygons", "images"]
    assert "refresh" in keys
    assert (result.exit_code, "0 images added" in result.output) == (0, True)
    assert (refused.exit_code, "a refresh already runs" in refused.output) == (2, True)


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


def test_the_form_has_no_surprises() -> None:
    assert RefreshParams().until == "dataset"
    with pytest.raises(ValueError, match="until"):
        RefreshParams.model_validate({"until": "nothing"})
