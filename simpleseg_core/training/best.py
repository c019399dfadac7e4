"""The best state of a run by a held-out measure, and when to stop waiting for a better one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist

from simpleseg_core.config import HeldOutConfig
from simpleseg_core.training.checkpoint import Checkpoints


class Best:
    """What every worker knows of the best evaluation so far; the first one keeps its state on the disk."""

    def __init__(self, config: HeldOutConfig, folder: Path, fingerprint: str, say: Callable[[str], None]) -> None:
        self._config = config
        self._states = Checkpoints(folder, fingerprint, keep=1, say=say)
        self.step, self.value = 0, float("-inf")
        """Of the best evaluation; larger is better."""

    def is_new(self, step: int, measured: dict[str, float]) -> bool:
        """Whether this evaluation is the best so far, which it then is."""
        value = -measured["held_out_loss"] if self._config.choose == "loss" else measured["held_out_giou"]
        better = value > self.value
        if better:
            self.step, self.value = step, value
        return better

    def is_final(self, step: int) -> bool:
        """Whether so many evaluations have brought nothing better that the run may end."""
        return bool(self._config.patience) and (step - self.step) // self._config.every >= self._config.patience

    def save(self, state: dict[str, Any]) -> None:
        """Keep the state of the best step."""
        self._states.save(self.step, {"value": self.value, **state})

    def load(self) -> dict[str, Any] | None:
        """The state that was kept, by this or by an earlier process, which it then is the best of."""
        found = self._states.latest()
        if found is None:
            return None
        self.step, self.value = found[0], float(found[1]["value"])
        return found[1]

    def share(self) -> None:
        """Tell all workers what the first one has loaded; all call it."""
        known: list[tuple[int, float]] = [(self.step, self.value)]
        dist.broadcast_object_list(known, src=0)
        self.step, self.value = known[0]

    def clear(self) -> None:
        """Forget it: the run is done."""
        self._states.clear()
