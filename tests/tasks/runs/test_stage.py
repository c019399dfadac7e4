"""One stage in this process: what it is given, what is written around it, how it ends."""

import json

import pytest

from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from tasks.runs.stage import BadInputError, run_stage
from tasks.runs.workspace import Workspace


def contour(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """A small stage that uses everything it is given."""
    context.progress.start(2, "masks")
    (context.work / "state").write_text("half done")
    context.progress.advance(2)
    context.tracker.metrics({"kept": 1.0}, 1)
    outputs["polygons"].mkdir(parents=True)
    return StageResult(
        {"kept": 3, "masks": float(inputs["masks"].is_dir())}, {"funnel": [{"filter": "area", "kept": 3, "dropped": 2}]}
    )


@pytest.fixture
def quiet(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr("tasks.runs.stage.load_stage", lambda name: contour)
    settings = workspace.params.read_text().replace("system_metrics: true", "system_metrics: false")
    workspace.params.write_text(settings)
    return workspace


def test_a_stage_leaves_its_metrics_tables_and_configuration(quiet: Workspace) -> None:
    (quiet.root / "data" / "masks").mkdir(parents=True)
    run_stage(quiet, "contour")
    assert json.loads(quiet.metrics("contour").read_text()) == {"kept": 3.0, "masks": 1.0}
    assert load_config(quiet.resolved_config("contour")) == load_config(quiet.params)
    assert json.loads((quiet.tracking("contour") / "tables.json").read_text())["funnel"] == [
        {"filter": "area", "kept": 3, "dropped": 2}
    ]
    assert (quiet.work("contour") / "state").read_text() == "half done"


def test_a_missing_input_names_the_stage_that_makes_it_before_anything_starts(quiet: Workspace) -> None:
    with pytest.raises(BadInputError, match=r"contour needs masks in data/masks.*simpleseg run --until segment"):
        run_stage(quiet, "contour")
    assert not (quiet.root / "mlflow.db").exists()


def test_unusable_parameters_are_bad_input(quiet: Workspace) -> None:
    quiet.params.write_text("contour: {tolerance: 5}")
    with pytest.raises(BadInputError, match=r"contour\.tolerance"):
        run_stage(quiet, "contour")


def test_a_file_that_is_not_there_costs_nothing_that_is(quiet: Workspace) -> None:
    made = quiet.root / "data" / "images" / "00000.tar"
    made.parent.mkdir(parents=True)
    made.write_text("fetched")
    quiet.params.write_text("data: {source: coco, coco: {root: /nope}}")
    with pytest.raises(BadInputError, match=r"/nope/instances\.json: no such file; set data\.coco\.root"):
        run_stage(quiet, "ingest", anew=True)
    assert made.read_text() == "fetched"
