"""Who counts as lost: a process that died, or that has not answered in time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

START_S = 600.0
"""On top of its time, what a process may take to load the model before its first answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a run is."""

    timeout_s: float
    """For one call."""
    replacements: int
    """Processes that a run may lose of each kind."""


def reason_of_loss(call: Any) -> str | None:
    """Why a call that is done has no answer although nothing is wrong with it: its process, or its node, is gone.

    Raises:
        RuntimeError: the process could not even start, so another would not either.
        Exception: what the call itself raised.
    """
    import ray
    from ray.exceptions import ActorDiedError, ObjectLostError, RayActorError

    try:
        ray.get(call, timeout=START_S)
    except ActorDiedError as error:
        if "creation task" in str(error):
            raise RuntimeError(f"rl: a process did not start: {error}") from error
        return "died"
    except (RayActorError, ObjectLostError) as error:
        return f"is out of reach ({type(error).__name__})"
    return None


def wait_until(calls: Sequence[Any], deadline: float, *, all_of_them: bool = False) -> Sequence[Any]:
    """Calls that are done, in whatever way: the first, or all, or those that made it by the deadline (monotonic)."""
    import ray

    count = len(calls) if all_of_them else 1
    done, _ = ray.wait(list(calls), num_returns=count, timeout=max(0.0, deadline - time.monotonic()))
    return list(done)
