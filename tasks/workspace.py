"""Where everything of a working copy lies: the one place where the paths of its files are made."""

from dataclasses import dataclass
from pathlib import Path

from simpleseg_core.config import TrackingConfig


class NoWorkspaceError(ValueError):
    """The current folder belongs to no working copy."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A checkout of the repository, with its data and its runs."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Workspace":
        """The working copy around a folder (the current one by default).

        Raises:
            NoWorkspaceError: neither the folder nor one above it holds a dvc.yaml.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "dvc.yaml").is_file():
                return cls(folder)
        raise NoWorkspaceError(f"{start}: no dvc.yaml here or above; go to a clone of the repository first")

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def dvc_yaml(self) -> Path:
        return self.root / "dvc.yaml"

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def dvc_tmp(self) -> Path:
        return self.root / ".dvc" / "tmp"

    @property
    def state(self) -> Path:
        """What the tools of this working copy remember between runs; git and DVC ignore it."""
        return self.root / ".simpleseg"

    @property
    def pipeline_state(self) -> Path:
        """The MLflow run of a pipeline run that has not ended."""
        return self.state / "pipeline.json"

    @property
    def ui_state(self) -> Path:
        """Addresses of the servers that `simpleseg ui` has started."""
        return self.state / "ui.json"

    @property
    def run_lock(self) -> Path:
        """Held while a pipeline runs here."""
        return self.state / "run.lock"

    @property
    def prefect_home(self) -> Path:
        """Prefect's database of this working copy, shared by runs without a server and by `simpleseg ui`."""
        return self.state / "prefect"

    def work(self, stage: str) -> Path:
        """State that lets a killed stage resume; private to the stage."""
        return self.state / "work" / stage

    def tracking(self, stage: str) -> Path:
        """What a stage has reported and MLflow has not seen yet, and the MLflow run it belongs to."""
        return self.state / "tracking" / stage

    def metrics(self, stage: str) -> Path:
        return self.root / "reports" / "metrics" / f"{stage}.json"

    def curves(self, stage: str) -> Path:
        return self.root / "reports" / "curves" / f"{stage}.csv"

    def resolved_config(self, stage: str) -> Path:
        """The whole configuration that a stage ran with."""
        return self.root / "reports" / "configs" / f"{stage}.yaml"

    @property
    def final_metrics(self) -> Path:
        """The table that the report stage writes: model -> benchmark -> metric -> value and interval."""
        return self.root / "reports" / "metrics.json"


def store_uri(workspace: Workspace, tracking: TrackingConfig) -> str:
    """MLflow's store; a relative SQLite file lies in the working copy, wherever the command was typed."""
    file = tracking.uri.removeprefix("sqlite:///")
    return tracking.uri if file == tracking.uri or file.startswith("/") else f"sqlite:///{workspace.root / file}"
