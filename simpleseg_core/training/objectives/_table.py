"""The table of objectives: what each one is given, what it gives, and how it is found by name."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from simpleseg_core.training.objectives.advantages import Rewards


@dataclass(frozen=True, slots=True)
class Answers:
    """A micro-batch of B answers, T tokens the longest, out of the minibatch of one optimizer step."""

    logps: Tensor
    """(B, T), under the policy that learns."""
    old_logps: Tensor
    """(B, T), under the policy that the minibatch was made for, by the trainer, without gradient."""
    mask: Tensor
    """bool (B, T): tokens of the answers, their stop tokens included."""
    advantages: Tensor
    """(B,)."""
    clip_low: float
    clip_high: float
    max_tokens: int
    """Longest answer that may be drawn."""
    mean_tokens: float
    """Mean length of the answers of the whole minibatch."""


@dataclass(frozen=True, slots=True)
class Surrogate:
    """The objective of each answer, (B,): its mean over a minibatch is to be maximised."""

    objective: Tensor
    clipped: Tensor
    """Share of the answer's tokens that the clip keeps from giving a gradient, (B,), without gradient."""


Function = Callable[[Answers], Surrogate]
Advantages = Callable[[Rewards], Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """One row of the table."""

    name: str
    surrogate: Function
    advantages: Advantages
    clip: tuple[float, float]
    """`clip_low` and `clip_high` of the paper, taken where the configuration leaves them open."""


OBJECTIVES: dict[str, Objective] = {}


def register(name: str, advantages: Advantages, clip: tuple[float, float]) -> Callable[[Function], Function]:
    """Put a surrogate into the table; one surrogate can stand there with several kinds of advantages."""

    def put(function: Function) -> Function:
        OBJECTIVES[name] = Objective(name, function, advantages, clip)
        return function

    return put


def objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"rl.objective: no {name!r}: choose one of {', '.join(sorted(OBJECTIVES))}")
    return OBJECTIVES[name]
