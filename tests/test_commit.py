"""Which commit a result comes from: the report and MLflow say the same."""

import pytest

from simpleseg_core.commit import commit_of
from tasks.runs.lineage import git_tags
from tasks.runs.workspace import Workspace
from tests.tiny_pipeline import git


@pytest.mark.parametrize(("file", "dirty"), [
    ("stage.py", True),  # code
    ("dvc.yaml", True),  # the graph
    ("params.yaml", False),  # a run's settings are recorded by themselves
    ("dvc.lock", False),  # results do not make code dirty
    ("reports/metrics/sft.json", False),
    ("notes.txt", False),  # a file that git does not know
])  # fmt: skip
def test_changed_code_is_marked_and_results_are_not(workspace: Workspace, file: str, dirty: bool) -> None:
    known = workspace.root / "reports" / "metrics" / "sft.json"
    known.parent.mkdir(parents=True)
    known.write_text("{}")
    workspace.dvc_lock.write_text("stages: {}\n")
    git(workspace.root, "add", "-A")
    git(workspace.root, "commit", "-qm", "results")
    clean = commit_of(workspace.root)
    assert clean is not None and not clean.dirty
    assert str(clean) == clean.hash[:9]
    with (workspace.root / file).open("a") as changed:
        changed.write("\n# changed\n")
    commit = commit_of(workspace.root)
    assert commit is not None
    assert (commit.hash, commit.dirty) == (clean.hash, dirty)
    assert str(commit).endswith("+") is dirty
    assert git_tags(workspace) == {"git.commit": clean.hash, "git.dirty": str(dirty).lower()}
