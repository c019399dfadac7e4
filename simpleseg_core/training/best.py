"""The best state of a run by a held-out measure, and when to stop waiting for a better one."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from simpleseg_core.config import HeldOutConfig
from simpleseg_core.training.checkpoint import Checkpoints


class Best:
    """The best evaluation so far, whose state is kept on the disk. All workers call the same methods."""

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

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Keep the state of the best step."""
        self._states.save(self.step, tensors, value=self.value)

    def find(self) -> None:
        """Go on from the best evaluation of an earlier process, if there was one."""
        if found := self._states.latest():
            self.step, self.value = found[0], float(found[1]["value"])

    def load(self, into: Mapping[str, Tensor]) -> None:
        """Fill tensors with those that were kept."""
        self._states.wait()
        self._states.load(self.step, into)

    def clear(self) -> None:
        """Forget it: the run is done."""
        self._states.clear()
