"""What a stage's results were made by: its modules and packages, and what counts as a change of them."""

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from simpleseg_core.config.files import load_config
from tasks.graph import STAGES
from tasks.runs import code
from tasks.runs.code import changed_code, changed_since_last_run, code_of, hash_source, remember_code
from tasks.runs.data_version import read_graph
from tasks.runs.freshness import freshness, stale_results
from tasks.runs.workspace import Workspace

PLAIN = "def area(side: float) -> float:\n    return side * side\n"


def test_words_about_code_are_no_part_of_it() -> None:
    told = PLAIN.replace("side * side", "(side\n        * side)  # simple").replace(
        ":\n", ':\n    """A square."""\n', 1
    )
    assert hash_source(told) == hash_source(told.replace("A square.", "Of a square.").replace("simple", "plain"))
    assert hash_source(f"# squares\n{PLAIN}") == hash_source(PLAIN.replace("side * side", "(side * side)"))


@pytest.mark.parametrize("other", [PLAIN.replace("side * side", "side + side"), PLAIN.replace("area", "size")])
def test_what_code_does_is(other: str) -> None:
    assert hash_source(other) != hash_source(PLAIN)


def test_a_stage_is_made_by_all_that_it_reaches_and_by_nothing_else() -> None:
    reached = code_of("contour")
    assert {"tasks.contour", "tasks.shards.shard_map", "simpleseg_core.geometry._trace"} <= reached.keys()
    assert reached["numpy"] == np.__version__
    assert not {"simpleseg_core.training.supervised", "tasks.detect", "tasks.runs.stage"} & reached.keys()
    assert not any(name.startswith("simpleseg_core.config") for name in reached), "settings are compared as such"


def test_files_that_are_found_by_their_names_are_part_of_a_stage() -> None:
    """No import statement leads to them; what the configuration asks them shapes no result."""
    assert {"simpleseg_core.refshapes._scene", "simpleseg_core.sources.refshapes"} <= code_of("ingest").keys()
    assert {"simpleseg_core.annotate.grabcut", "simpleseg_core.annotate.segmenters.sam"} <= code_of("segment").keys()
    assert "simpleseg_core.models.architectures.qwen2_5_vl" in code_of("sft")
    assert "simpleseg_core.rewards.terms.iou" in code_of("rl")
    assert not {"simpleseg_core.rewards.terms.iou", "simpleseg_core.models.architectures"} & code_of("ingest").keys()


def test_every_stage_has_code() -> None:
    assert all(f"tasks.{name}" in code_of(name) for name in STAGES)


@pytest.fixture
def other_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that traces outlines does something else."""
    now = code._hash
    monkeypatch.setattr(code, "_hash", lambda module: "other" if module.endswith(".geometry._trace") else now(module))


def test_a_change_is_named_where_the_stage_has_run_with_these_settings(
    workspace: Workspace, request: pytest.FixtureRequest
) -> None:
    config = load_config(workspace.params)
    assert changed_code(workspace, config, "contour") == [], "nobody knows what made results of before"
    remember_code(workspace, config, "contour")
    assert changed_code(workspace, config, "contour") == []
    request.getfixturevalue("other_trace")
    assert changed_code(workspace, config, "contour") == ["simpleseg_core.geometry._trace"]
    assert changed_since_last_run(workspace, "contour") == ["simpleseg_core.geometry._trace"]
    loose = config.model_copy(update={"contour": config.contour.model_copy(update={"tolerance": 0.1})})
    remember_code(workspace, loose, "contour")
    assert changed_since_last_run(workspace, "contour") == []
    assert changed_code(workspace, loose, "contour") == []
    assert changed_code(workspace, config, "contour") == ["simpleseg_core.geometry._trace"]


def test_status_says_that_code_changed_and_that_scores_are_stale(
    workspace: Workspace, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.runs.freshness.dvc_status", lambda workspace: {})
    monkeypatch.setattr("tasks.runs.freshness._RESULTS", "contour")
    config, graph = load_config(workspace.params), read_graph(workspace)
    for stage in graph.upstream:
        remember_code(workspace, config, stage)
    fresh = freshness(workspace, config, graph)
    assert (fresh.reasons, fresh.code, stale_results(fresh, graph)) == ({}, frozenset(), ())
    request.getfixturevalue("other_trace")
    stale = freshness(workspace, config, graph)
    assert stale.reasons["contour"] == ["code changed: simpleseg_core.geometry._trace"]
    assert "contour" in stale.code
    assert "contour: code changed: simpleseg_core.geometry._trace" in stale_results(stale, graph)
    monkeypatch.chdir(workspace.root)
    assert "contour: 1 changes of code taken as none" in CliRunner().invoke(app, ["accept"]).output
    assert not freshness(workspace, config, graph).code
