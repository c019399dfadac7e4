"""Training state on disk: written atomically, the newest few kept, used again only by the run that wrote it."""

import hashlib
import json
import pickle
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from pydantic import BaseModel

from simpleseg_core.files import replacing


def fingerprint(*parts: BaseModel | Path | str | int) -> str:
    """One hash of configuration sections, file contents and plain values: equal exactly when a half-done run may go
    on."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"\0")
        if isinstance(part, Path):
            for file in sorted(part.rglob("*")) if part.is_dir() else [part]:
                if file.is_file():
                    digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
        else:
            text = (
                json.dumps(part.model_dump(mode="json"), sort_keys=True) if isinstance(part, BaseModel) else str(part)
            )
            digest.update(text.encode())
    return digest.hexdigest()


class Checkpoints:
    """Numbered states in a folder that belongs to one fingerprint; a folder of another run is emptied first."""

    def __init__(self, folder: Path, fingerprint: str, keep: int = 2) -> None:
        self._folder, self._keep = folder, keep
        owner = folder / "fingerprint.txt"
        if not owner.is_file() or owner.read_text() != fingerprint:
            rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            owner.write_text(fingerprint)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps, then drop the oldest ones."""
        path = self._path(step)
        with replacing(path) as partial:
            torch.save(state, partial)
        for old in self._steps()[: -self._keep]:
            self._path(old).unlink()

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest state that can be read, and its step; nothing in a checkpoint can run code."""
        for step in reversed(self._steps()):
            try:
                return step, torch.load(self._path(step), map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
                self._path(step).unlink()
        return None

    def clear(self) -> None:
        """Forget everything: the run is done."""
        rmtree(self._folder, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}.pt"

    def _steps(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("step-")) for path in self._folder.glob("step-*.pt"))
