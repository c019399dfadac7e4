"""What the stages have reported and MLflow has not taken yet; asked without MLflow, which takes a second to import."""

from pathlib import Path

from simpleseg_core.files import read_state
from simpleseg_core.journal import Journal
from tasks.graph import STAGES
from tasks.runs.workspace import Workspace


def sent_file(journal: Journal) -> Path:
    """The file that says to which run a journal goes and how much of it is there."""
    return journal.folder / "sent.json"


def unsent(journal: Journal) -> bool:
    """Whether MLflow lacks something that stands in a journal."""
    size = journal.events.stat().st_size if journal.events.exists() else 0
    return size > int(read_state(sent_file(journal)).get("offset", 0))


def stages_kept(workspace: Workspace) -> list[str]:
    """The stages whose present run is not all in MLflow."""
    return [stage for stage in STAGES if unsent(Journal(workspace.tracking(stage)))]


def anything_kept(workspace: Workspace) -> bool:
    """Whether MLflow lacks something of a run, present or earlier."""
    aside = workspace.tracking_set_aside
    return bool(stages_kept(workspace)) or (aside.is_dir() and any(each.is_dir() for each in aside.iterdir()))
