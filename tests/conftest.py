"""What every test shares: quiet, offline process defaults and the optional folder of real photographs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from simpleseg_core.environment import apply_defaults

if TYPE_CHECKING:
    from tasks.runs.workspace import Workspace

_REPOSITORY = Path(__file__).resolve().parent.parent

apply_defaults(offline=True)
# How long an example takes says something about the machine, not about the law.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout under test."""
    return _REPOSITORY


@pytest.fixture(scope="session")
def coco_tiny() -> Path:
    """A folder with a COCO `instances.json` and its `images/`, or a skip where there is none."""
    folder = Path(os.environ.get("SIMPLESEG_COCO_TINY", _REPOSITORY.parent / "shared" / "data" / "coco-tiny"))
    if not (folder / "instances.json").is_file():
        pytest.skip(f"no COCO photographs in {folder}: set SIMPLESEG_COCO_TINY to a folder with instances.json")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> "Workspace":
    """A working copy of two tiny stages, ingest and contour, under real git and real DVC."""
    from tests.tiny_pipeline import make_workspace

    return make_workspace(tmp_path)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HF checkpoint of a very small nano model with random weights (its configuration is `tests.tiny.TINY`)."""
    from simpleseg_core.models.loading import save_checkpoint
    from simpleseg_core.models.nano import build_nano
    from tests.tiny import TINY

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(*build_nano(TINY, seed=0), folder)
    return folder
