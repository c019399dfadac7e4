"""Models that stages load from folders outside of the pipeline, where DVC does not look: what they hold."""

from collections.abc import Mapping
from contextlib import chdir, suppress
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.files import read_state, write_json
from simpleseg_core.fingerprint import file_sum, fingerprint
from tasks.hub import model_places
from tasks.runs.workspace import Workspace

WEIGHTS = "weights of "
"""What the name of such a folder begins with among the things that results are made by."""
_SEEN_BY_DVC = Path("checkpoints/nano-base")
"""A dependency in dvc.yaml already."""


def weights_of(workspace: Workspace, config: Config, stage: str) -> Mapping[str, str]:
    """Each folder with a model that a stage loads -> a hash of all that is in it.

    A file is read once, and again when its size or its time changes: checkpoints have gigabytes.
    """
    known = read_state(_sums(workspace))
    found: dict[str, list[object]] = {}
    with chdir(workspace.root):
        places = [place for place in model_places(config, stage) if place != _SEEN_BY_DVC]
        hashes = {f"{WEIGHTS}{_short(place)}": _hash(place.absolute(), known, found) for place in places}
    if new := {file: entry for file, entry in found.items() if known.get(file) != entry}:
        with suppress(OSError):  # a working copy that may only be read has nothing to remember
            write_json(_sums(workspace), known | new)
    return hashes


def _short(folder: Path) -> Path:
    """Relative in the working copy, which may be moved."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _hash(place: Path, known: Mapping[str, list[object]], found: dict[str, list[object]]) -> str:
    files = [file for file in sorted((place, *place.rglob("*"))) if file.is_file()]
    for file in files:
        state = [(status := file.stat()).st_size, status.st_mtime_ns]
        before = known.get(str(file), [])
        found[str(file)] = before if before[:2] == state else [*state, file_sum(file)]
    return fingerprint(**{str(file.relative_to(place)): str(found[str(file)][-1]) for file in files})[:12]


def _sums(workspace: Workspace) -> Path:
    return workspace.state / "code" / "weights.json"
