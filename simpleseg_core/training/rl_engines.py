"""Generation engines in processes of their own, as one: they share prompts, take new weights, and are replaced when
lost."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simpleseg_core.rollout import Completion, EngineSettings, Packed, Request, Sampling, open_engine
from simpleseg_core.training.rl_lost import START_S, Limits, reason_of_loss, wait_until

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers to neighbouring requests."""

    first: int
    """Number of the first request."""
    answers: list[list[Completion]]
    version: int
    """Steps of training behind the weights that gave them."""
    seconds: float = 0.0
    """That the engine took."""


class EngineActor:
    """A generation engine in a process of its own."""

    def __init__(self, engine: str, model_dir: str, settings: EngineSettings) -> None:
        self._engine = open_engine(engine, model_dir, settings)
        self._version = 0

    def generate(self, first: int, requests: Sequence[Request], sampling: Sampling) -> Answered:
        began = time.perf_counter()
        answers = self._engine.generate(requests, sampling)
        return Answered(first, answers, self._version, time.perf_counter() - began)

    def load_weights(self, weights: Packed) -> None:
        self._engine.load_weights(weights.unpack())
        self._version = weights.version


@dataclass(frozen=True, slots=True)
class RequestPart:
    """What an engine is asked in one call."""

    first: int
    requests: Sequence[Request]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class _Call:
    engine: int
    part: RequestPart
    deadline: float


class EnginePool:
    """Engines that share the requests of a call; whoever dies or hangs is replaced, and its requests go to another."""

    def __init__(self, start: Callable[[int], Any], count: int, at_once: int, limits: Limits) -> None:
        """
        Args:
            start: starts the actor of an engine.
            at_once: requests that an engine is given at a time; answers depend on it, not on the number of engines.
        """
        self._start, self._at_once, self._limits = start, at_once, limits
        self._engines = [start(index) for index in range(count)]
        self._settled = set[int]()
        """Engines that have answered before."""
        self._weights: Any = None
        self.version = 0
        self.replaced = 0
        self.busy_s = 0.0
        """Seconds that engines have been generating, summed over engines."""

    @property
    def count(self) -> int:
        return len(self._engines)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Answers in the order of the requests."""
        found = sorted(self.stream(requests, sampling), key=lambda part: part.first)
        return [answers for part in found for answers in part.answers]

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answered]:
        """Answers as they come, part by part: engines go on while a part is looked at.

        Raises:
            RuntimeError: too many engines were lost.
        """
        waiting, running = deque(share_out(requests, sampling, self._at_once)), dict[Any, _Call]()
        while waiting or running:
            self._hand_out(waiting, running)
            found = self._collect(waiting, running)
            self._hand_out(waiting, running)
            yield from found

    def load_weights(self, weights: Any, version: int) -> None:
        """Give every engine the same new weights: a reference to `Packed`, which Ray carries to their nodes."""
        self._weights, self.version = weights, version
        calls = {engine.load_weights.remote(weights): index for index, engine in enumerate(self._engines)}
        done = set(wait_until(list(calls), self._deadline(*calls.values()), all_of_them=True))
        for call, index in calls.items():
            reason = reason_of_loss(call) if call in done else self._too_slow
            if reason is None:
                self._settled.add(index)
            else:
                self._replace(index, reason)

    def close(self) -> None:
        """End every engine."""
        import ray

        for engine in self._engines:
            ray.kill(engine)

    def _hand_out(self, waiting: deque[RequestPart], running: dict[Any, _Call]) -> None:
        busy = {call.engine for call in running.values()}
        for index, engine in enumerate(self._engines):
            if waiting and index not in busy:
                part = waiting.popleft()
                reference = engine.generate.remote(part.first, part.requests, part.sampling)
                running[reference] = _Call(index, part, self._deadline(index))

    def _collect(self, waiting: deque[RequestPart], running: dict[Any, _Call]) -> list[Answered]:
        """Wait for the next answers; what was asked of a lost engine waits again."""
        done = wait_until(list(running), min(call.deadline for call in running.values()))
        found = []
        for reference, call in list(running.items()):
            late = time.monotonic() > call.deadline
            if reference not in done and not late:
                continue
            del running[reference]
            reason = reason_of_loss(reference) if reference in done else self._too_slow
            if reason is None:
                self._settled.add(call.engine)
                found.append(self._checked(reference))
            else:
                self._replace(call.engine, reason)
                waiting.appendleft(call.part)
        return found

    def _checked(self, reference: Any) -> Answered:
        import ray

        found: Answered = ray.get(reference, timeout=self._limits.timeout_s)
        self.busy_s += found.seconds
        if found.version != self.version:
            raise RuntimeError(f"rl: an engine answers with the weights of step {found.version}, not {self.version}")
        return found

    def _replace(self, index: int, reason: str) -> None:
        import ray

        self.replaced += 1
        message = f"rollout engine {index} {reason}"
        if self.replaced > self._limits.replacements:
            raise RuntimeError(f"rl: {message}, and {self._limits.replacements} were replaced (rl.max_replacements)")
        _log.warning("%s; another takes its place and its prompts", message)
        ray.kill(self._engines[index])
        self._settled.discard(index)
        self._engines[index] = self._start(index)
        if self._weights is not None:
            self._engines[index].load_weights.remote(self._weights)

    @property
    def _too_slow(self) -> str:
        return f"took longer than {self._limits.timeout_s:g} s (rl.timeout_s)"

    def _deadline(self, *engines: int) -> float:
        start = 0.0 if self._settled.issuperset(engines) else START_S
        return time.monotonic() + start + self._limits.timeout_s


def share_out(requests: Sequence[Request], sampling: Sampling, at_once: int) -> list[RequestPart]:
    """Neighbouring requests, so many at once, and for each part a seed that no other has."""
    starts = range(0, len(requests), at_once)
    seeds = [None if sampling.seed is None else sampling.seed + number for number in range(len(starts))]
    return [
        RequestPart(first, requests[first : first + at_once], replace(sampling, seed=seed))
        for first, seed in zip(starts, seeds, strict=True)
    ]
