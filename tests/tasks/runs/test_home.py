"""Artifacts of a working copy that is moved or copied: its runs of before and of after lie where it is now."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simpleseg_core.config import TrackingConfig
from tasks.runs.tracking import Store
from tasks.runs.workspace import Workspace

TRACKING = TrackingConfig()


def log(folder: Path, text: str) -> str:
    """Track an artifact in the working copy; returns its run."""
    store = Store.open(Workspace(folder), TRACKING)
    run = store.start(text, {})
    store.client.log_text(run, text, "said.txt")
    return run


def said(folder: Path, run: str) -> str:
    store = Store.open(Workspace(folder), TRACKING)
    return Path(store.client.download_artifacts(run, "said.txt")).read_text()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A working copy with a run; making a database takes seconds."""
    folder = tmp_path_factory.mktemp("first") / "copy"
    folder.mkdir()
    return folder, log(folder, "before")


@contextmanager
def gone(folder: Path) -> Iterator[None]:
    """As if the working copy were no longer where it was."""
    (folder / "mlruns").rename(folder / "hidden")
    try:
        yield
    finally:
        (folder / "hidden").rename(folder / "mlruns")


def test_a_copy_reads_and_writes_its_own_artifacts(original: tuple[Path, str], tmp_path: Path) -> None:
    folder, before = original
    shutil.copytree(folder, tmp_path / "second")
    after = log(tmp_path / "second", "after")
    assert list((tmp_path / "second" / "mlruns").rglob(f"{after}/**/said.txt"))
    assert not list((folder / "mlruns").rglob(f"{after}/**/said.txt"))
    with gone(folder):
        assert said(tmp_path / "second", before) == "before"
    assert said(folder, before) == "before", "the original is as it was"


def test_a_moved_working_copy_opens_what_it_had(original: tuple[Path, str], tmp_path: Path) -> None:
    folder, before = original
    shutil.copytree(folder, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there é")
    with gone(folder):
        assert said(tmp_path / "there é", before) == "before"
        assert said(tmp_path / "there é", log(tmp_path / "there é", "after")) == "after"


def test_a_store_elsewhere_stays_as_it_is(original: tuple[Path, str], tmp_path: Path) -> None:
    folder, before = original
    shared = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    store = Store.open(Workspace(tmp_path), shared)
    assert store.client.get_run(before).info.artifact_uri.startswith(folder.as_uri())
