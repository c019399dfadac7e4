"""Changes of params.yaml: those that are asked for, and no others."""

from flows.edit import edit_params
from simpleseg_core.config.files import load_config
from tasks.workspace import Workspace


def test_a_file_that_says_so_already_stays_as_it_is(workspace: Workspace) -> None:
    text = "# chosen with care\n" + workspace.params.read_text()
    workspace.params.write_text(text)
    assert edit_params(workspace, ["ingest.retry_failed=false"]) == []
    assert workspace.params.read_text() == text
    [change] = edit_params(workspace, ["ingest.retry_failed=true"])
    assert "retry_failed" in str(change)
    assert load_config(workspace.params).ingest.retry_failed
