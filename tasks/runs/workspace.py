"""Where everything of a working copy lies: the one place where the paths of its files are made."""

import os
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

    def make_state(self) -> None:
        """Make that folder, for the user alone: keys and logs lie in it."""
        self.state.mkdir(exist_ok=True)
        self.state.chmod(0o700)

    @property
    def pipeline_state(self) -> Path:
        """The MLflow run of a pipeline run that has not ended."""
        return self.state / "pipeline.json"

    @property
    def ui_state(self) -> Path:
        """Addresses of the servers that `simpleseg ui` has started, and the key to them."""
        return self.state / "ui.json"

    @property
    def run_lock(self) -> Path:
        """Held while a pipeline runs here."""
        return self.state / "run.lock"

    @property
    def refresh_lock(self) -> Path:
        """Held while a refresh goes on here."""
        return self.state / "refresh.lock"

    def stage_lock(self, stage: str) -> Path:
        """Held while a stage runs here."""
        return self.state / f"{stage}.lock"

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

    @property
    def tracking_set_aside(self) -> Path:
        """The same of earlier runs, kept until MLflow takes it."""
        return self.state / "tracking" / "set-aside"

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
    """MLflow's store: MLFLOW_TRACKING_URI, which may hold a password, before `tracking.uri`, which may not.

    A relative SQLite file lies in the working copy, wherever the command was typed.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri
    file = uri.removeprefix("sqlite:///")
    return uri if file == uri or file.startswith("/") else f"sqlite:///{workspace.root / file}"
