"""`simpleseg compare` on predictions of imaginary models, at commits of a real git and DVC and in a real MLflow."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from typer.testing import CliRunner, Result

from flows.cli.app import app
from simpleseg_core.config import TrackingConfig
from tasks.runs.tracking.store import Store
from tasks.runs.workspace import Workspace
from tests.browser import browsing
from tests.evaluation.fabricated import write_benchmark, write_predictions
from tests.tiny_pipeline import git, make_workspace

HOSTILE = '<img src=x onerror="alert(1)">'


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


def commit(workspace: Workspace) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "commit", "--force", "evaluate"], cwd=workspace.root, check=True)
    git(workspace.root, "add", "-A")
    git(workspace.root, "commit", "-m", "Evaluate")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two commits: `rl` was a worse model at the first."""
    workspace = make_workspace(tmp_path_factory.mktemp("made"))
    data = workspace.root / "data"
    prompts = write_benchmark(data, "val", 30)
    prompts[0]["expression"] = HOSTILE
    stage = "stages:\n  evaluate:\n    cmd: 'true'\n    outs: [data/predictions]\n"
    workspace.dvc_yaml.write_text(stage)
    write_predictions(data, prompts, "sft")
    write_predictions(data, prompts, "base")
    (data / "predictions" / "base").rename(data / "predictions" / "rl")
    commit(workspace)
    write_predictions(data, prompts, "rl")
    commit(workspace)
    return workspace


@pytest.fixture
def evaluated(made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of it, as the current folder."""
    workspace = Workspace(tmp_path / "copy")
    shutil.copytree(made.root, workspace.root)
    monkeypatch.chdir(workspace.root)
    return workspace


def test_models_of_the_working_copy_side_by_side(evaluated: Workspace) -> None:
    result = compare("sft", "rl")
    assert result.exit_code == 0, result.output
    assert "refshapes/val" in result.output and "30 queries" in result.output
    assert re.search(r"gIoU, % .*\+\d+\.\d \[.*better", result.output)
    assert "large (from" in result.output


def test_a_model_at_an_earlier_commit_comes_out_of_the_cache(evaluated: Workspace) -> None:
    found = json.loads(compare("rl@HEAD~1", "rl", "--json").output)["refshapes/val"]
    assert found["differences"]["rl"]["giou"]["value"] > 10
    assert compare("rl@HEAD", "rl", "--json", "--fail-if", "giou != 0").exit_code == 2
    same = json.loads(compare("rl@HEAD", "rl", "--json").output)["refshapes/val"]
    assert same["differences"]["rl"]["giou"]["value"] == 0


def test_a_gate_fails_with_its_numbers(evaluated: Workspace) -> None:
    assert compare("rl@HEAD~1", "rl", "--fail-if", "giou < -1").exit_code == 0
    result = compare("rl", "rl@HEAD~1", "--fail-if", "giou < -1", "--fail-if", "giou.high < -99")
    assert result.exit_code == 1
    assert re.search(r"fails giou < -1: rl@HEAD~1 on refshapes/val has -\d+", " ".join(result.output.split()))
    assert "-99" not in result.output


def test_a_run_of_mlflow_is_known_by_its_id_or_that_of_its_parent(evaluated: Workspace) -> None:
    store = Store.open(evaluated, TrackingConfig())
    lock = evaluated.dvc_lock.read_text()
    md5 = re.findall(r"md5: (\w+\.dir)", lock)[-1]
    parent = store.start("run", {})
    child = store.start("evaluate", {"mlflow.parentRunId": parent, "dvc.lock.data/predictions": md5})
    for run_id in (parent, child):
        found = json.loads(compare(f"rl@{run_id}", "rl", "--json").output)["refshapes/val"]
        assert found["differences"]["rl"]["giou"]["value"] == 0
    for wrong, said in ((store.start("other", {}), "evaluated nothing"), ("0" * 32, "knows no such run")):
        result = compare(f"rl@{wrong}", "rl")
        assert result.exit_code == 2
        assert said in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rl"], "two runs or more"),
        (["rl", "rl"], "each once"),
        (["rl", "rll"], "did you mean `rl`"),
        (["rl", "rl@nowhere"], "git has no such revision"),
        (["rl", "sft", "--out", "a.pdf"], "end its name in .html"),
        (["rl", "sft", "--out", "nowhere/a.md"], "its folder is not there"),
        (["rl", "params.yaml"], "params.yaml"),
    ],
)
def test_what_cannot_be_compared_is_one_line(evaluated: Workspace, arguments: list[str], said: str) -> None:
    result = compare(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


def test_what_dvc_no_longer_holds_is_named(evaluated: Workspace) -> None:
    for folder in (evaluated.root / ".dvc" / "cache").rglob("*.dir"):
        folder.chmod(0o600)
        folder.unlink()
    result = compare("rl@HEAD~1", "rl")
    assert result.exit_code == 2
    assert "DVC's cache does not hold" in result.output


def test_tables_for_papers_and_for_programs(evaluated: Workspace) -> None:
    names = ["c.md", "c.tex", "c.txt", "c.json"]
    assert compare("sft", "rl", *(part for name in names for part in ("--out", name))).exit_code == 0
    text = {name: (evaluated.root / name).read_text() for name in names}
    assert re.search(r"\| gIoU, % +\| \d+\.\d \[", text["c.md"])
    assert r"\toprule" in text["c.tex"] and r"gIoU, \%" in text["c.tex"]
    assert "part by part" in text["c.txt"]
    assert set(json.loads(text["c.json"])["refshapes/val"]["runs"]) == {"sft", "rl"}


@pytest.fixture
def page(evaluated: Workspace) -> Iterator[Page]:
    assert compare("rl@HEAD~1", "sft", "rl", "--out", "c.html").exit_code == 0
    with browsing() as browser:
        window = browser.new_page(viewport={"width": 420, "height": 900})
        window.goto((evaluated.root / "c.html").as_uri())
        yield window


def test_the_page_shows_what_changed_most_and_runs_nothing(page: Page) -> None:
    assert page.locator("h1").inner_text() == "sft, rl compared with rl@HEAD~1"
    assert page.locator("figure.shot svg.panel use").count() >= 6
    assert page.locator("img").count() == 0, "an expression is text"
    assert page.locator("q", has_text=HOSTILE).count() > 0 or page.get_by_text("Best gains").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_outside_a_working_copy_files_are_compared(
    evaluated: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere")
    for model in ("sft", "rl"):
        (evaluated.root / "data" / "predictions" / model).rename(elsewhere / model)
    monkeypatch.chdir(elsewhere)
    assert compare("sft", "rl/refshapes-val.parquet", "--out", "c.html").exit_code == 0
    assert "only those can be compared" in " ".join(compare("sft", "base").output.split())
