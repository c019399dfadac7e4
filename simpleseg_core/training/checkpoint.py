"""Training state on disk: whole or not at all, checked before use; the newest few, in a folder of each run's own."""

import logging
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from simpleseg_core.files import replacing, write_text
from simpleseg_core.fingerprint import file_sum

_log = logging.getLogger(__name__)


class Checkpoints:
    """Numbered states of one run, in the folder of its fingerprint; those of other runs beside it are left alone.

    Each state has a checksum beside it, as `sha256sum --check` reads it. One that is damaged in whatever way is set
    aside under another name, and the one before it counts.
    """

    def __init__(
        self, folder: Path, fingerprint: str, keep: int = 2, say: Callable[[str], None] = _log.warning
    ) -> None:
        """Open the states of a run.

        Args:
            folder: holds the folders of all runs of a stage.
            fingerprint: of everything that the states depend on.
            keep: how many states are kept.
            say: told in one line what is passed over, and where it lies.
        """
        self._all, self._fingerprint, self._keep, self._say = folder, fingerprint, keep, say
        self._folder = folder / fingerprint[:16]

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps, then drop the oldest ones."""
        path = self._path(step)
        with replacing(path) as partial:
            torch.save({"step": step, "fingerprint": self._fingerprint, "state": state}, partial)
            write_text(_sum(path), _sum_line(partial, path.name))  # first: a state that is there has its checksum
        for old in self._steps()[: -self._keep]:
            self._path(old).unlink()
            _sum(self._path(old)).unlink(missing_ok=True)

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest undamaged state and its step; nothing in a checkpoint can run code."""
        for step in reversed(self._steps()):
            try:
                return step, self._read(step)
            except Exception as error:  # whatever is wrong with it, the one before may be right
                self._set_aside(step, error)
        self._name_others()
        return None

    def clear(self) -> None:
        """Forget the states of this run: it is done."""
        rmtree(self._folder, ignore_errors=True)

    def _read(self, step: int) -> dict[str, Any]:
        path = self._path(step)
        if _sum(path).read_text(encoding="utf-8") != _sum_line(path, path.name):
            raise ValueError("it is not what its checksum says")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if (saved["step"], saved["fingerprint"]) != (step, self._fingerprint):
            raise ValueError(f"it holds step {saved['step']} of run {saved['fingerprint']}")
        state: dict[str, Any] = saved["state"]
        return state

    def _set_aside(self, step: int, error: Exception) -> None:
        path = self._path(step)
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        self._say(f"the checkpoint of step {step} cannot be used ({error!r}); it is kept as {aside}")

    def _name_others(self) -> None:
        """Say where states of other settings lie: they are of use again when the settings are."""
        others = sorted(each for each in self._all.glob("*") if each != self._folder)
        if others:
            self._say(
                f"starting afresh; checkpoints made under other settings are kept: {', '.join(map(str, others))} "
                "(going back to their settings goes on with them; remove what you do not need)"
            )

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}.pt"

    def _steps(self) -> list[int]:
        numbers = (path.stem.removeprefix("step-") for path in self._folder.glob("step-*.pt"))
        return sorted(int(number) for number in numbers if number.isdecimal())


def _sum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sum_line(file: Path, name: str) -> str:
    return f"{file_sum(file)}  {name}\n"
