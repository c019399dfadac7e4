"""Changes of params.yaml: those that are asked for, and no others."""

import pytest

from flows.params import edit_params
from simpleseg_core.config.files import load_config
from tasks.runs.workspace import Workspace


def test_a_file_that_says_so_already_stays_as_it_is(workspace: Workspace) -> None:
    text = "# chosen with care\n" + workspace.params.read_text()
    workspace.params.write_text(text)
    assert edit_params(workspace, ["ingest.retry_failed=false"]) == []
    assert workspace.params.read_text() == text
    [change] = edit_params(workspace, ["ingest.retry_failed=true"])
    assert "retry_failed" in str(change)
    assert load_config(workspace.params).ingest.retry_failed


def test_a_model_that_cannot_be_had_stands_not_in_the_way_of_other_changes(workspace: Workspace) -> None:
    """A profile is chosen here, and its models are fetched where it will run."""
    workspace.params.write_text(workspace.params.read_text().replace("checkpoints/nano-base", "nobody/none"))
    edit_params(workspace, ["ingest.retry_failed=true"])
    before = workspace.params.read_text()
    with pytest.raises(ValueError, match="nobody/else, which is not on this machine"):
        edit_params(workspace, ["model.base=nobody/else"])
    assert workspace.params.read_text() == before
