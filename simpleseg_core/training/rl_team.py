"""The workers of the trainer as one: each call goes to all of them, and if one is lost, all start afresh."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from simpleseg_core.training.rl_batch import Group
from simpleseg_core.training.rl_lost import START_S, Limits, reason_of_loss, wait_until
from simpleseg_core.training.rl_measured import Measured
from simpleseg_core.training.rl_trainer import Resumed

_log = logging.getLogger(__name__)

Worker: TypeAlias = Any
"""Handle of an actor that is a `Trainer`."""


class TrainerLost(RuntimeError):
    """A worker died, or did not answer in time; the newest checkpoint is what is left."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that all workers are busy with."""

    answers: Sequence[Any]
    deadline: float

    def wait(self) -> None:
        """Until all are done.

        Raises:
            TrainerLost: a worker died or hung.
            Exception: what a worker raised.
        """
        done = wait_until(self.answers, self.deadline, all_of_them=True)
        errors = list[Exception]()
        for rank, answer in enumerate(self.answers):
            try:
                reason = reason_of_loss(answer) if answer in done else "did not answer within rl.timeout_s"
            except Exception as error:  # perhaps only because another worker is gone
                errors.append(error)
                continue
            if reason:
                raise TrainerLost(f"worker {rank} of the trainer {reason}")
        if errors:
            raise errors[0]

    def results(self) -> list[Any]:
        """What each worker has returned."""
        import ray

        self.wait()
        found: list[Any] = ray.get(list(self.answers), timeout=START_S)
        return found


class TrainerTeam:
    """A trainer in one or several processes."""

    def __init__(self, start: Callable[[], Sequence[Worker]], limits: Limits) -> None:
        self._start, self._limits = start, limits
        self.restarts = 0
        self.workers = start()
        self._settled = False

    def resume(self) -> Resumed:
        """Load the newest checkpoint."""
        found: Resumed = self._begin("resume").results()[0]
        self._settled = True
        return found

    def begin_update(self, groups: Sequence[Group], step: int) -> Call:
        """Start an update; `measured` waits for it."""
        import ray

        return self._begin("update", ray.put(groups), step)

    def measured(self, update: Call) -> Measured:
        """What all workers have measured in an update."""
        return Measured.gathered(update.results())

    def weights(self, version: int) -> Any:
        """A reference to the weights, `Packed`, in Ray's object store."""
        call = self._begin("weights", version)
        call.wait()
        return call.answers[0]

    def save(self, step: int, cursor: int) -> None:
        """Write a checkpoint."""
        self._begin("save", step, cursor).wait()

    def finish(self, output: Path) -> None:
        """Write the HF checkpoint."""
        self._begin("finish", output).wait()

    def restart(self, lost: TrainerLost) -> None:
        """Start all workers afresh.

        Raises:
            TrainerLost: too often.
        """
        if self.restarts == self._limits.replacements:
            raise lost
        self.restarts += 1
        _log.warning("%s; the trainer starts again and goes on from its newest checkpoint", lost)
        self.close()
        self._settled = False
        self.workers = self._start()

    def close(self) -> None:
        """End every worker."""
        import ray

        for worker in self.workers:
            ray.kill(worker)

    def _begin(self, method: str, *arguments: Any) -> Call:
        start = 0.0 if self._settled else START_S
        answers = [getattr(worker, method).remote(*arguments) for worker in self.workers]
        return Call(answers, time.monotonic() + start + self._limits.timeout_s)
