"""Where the processes of reinforcement learning run: one Ray placement group for all, reserved before any starts.

E engines of T GPUs each (tensor parallel) and W workers of the trainer. Disaggregated, everyone has GPUs of its own.
Colocated, an engine generates on the GPUs of T workers while they wait, so W = E T. Without GPUs all share the CPUs.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from simpleseg_core.config import RLConfig
from simpleseg_core.environment import worker_env
from simpleseg_core.ray_session import RaySession

Bundle = dict[str, float]
"""Resources that Ray finds on one node."""

_PATIENCE_S = 120.0
"""How long a cluster that is large enough may be busy with others."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What one actor takes of the group."""

    bundle: int
    cpus: float
    gpus: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Bundles of the group, and who sits where."""

    bundles: Sequence[Bundle]
    trainers: Sequence[Seat]
    engines: Sequence[Seat]
    hosts: Sequence[Sequence[int]]
    """For each engine the trainer workers whose GPUs it uses; empty where it has its own, or needs none."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A reserved group."""

    plan: Plan
    group: Any

    def trainer(self, rank: int) -> dict[str, Any]:
        """Options of the actor that is a worker of the trainer."""
        return self._options(self.plan.trainers[rank])

    def engine(self, index: int) -> dict[str, Any]:
        """Options of the actor that holds an engine."""
        return self._options(self.plan.engines[index])

    def _options(self, seat: Seat) -> dict[str, Any]:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        where = PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=seat.bundle)
        return {"num_cpus": seat.cpus, "num_gpus": seat.gpus, "scheduling_strategy": where}


def plan(rl: RLConfig, session: RaySession) -> Plan:
    """Seats for everyone.

    Raises:
        ValueError: the cluster has too few GPUs, or colocated engines and workers do not match.
    """
    cpus = _cpu_share(session.cpus, rl.rollout.engines + rl.trainer_workers)
    if not session.gpus:
        return _apart(rl, cpus, worker_gpus=0, engine_gpus=0)
    _require_gpus(rl, session.gpus)
    if rl.placement == "disaggregated":
        return _apart(rl, cpus, worker_gpus=1, engine_gpus=rl.rollout.tensor_parallel)
    return _together(rl, cpus)


@contextmanager
def reserve(rl: RLConfig, session: RaySession) -> Iterator[Placement]:
    """Hold everything that a run needs for the length of the block, all of it or nothing.

    Raises:
        ValueError: the cluster is too small.
        TimeoutError: it is large enough, and others keep it busy.
    """
    import ray
    from ray.util import placement_group, remove_placement_group

    seats = plan(rl, session)
    group = placement_group([dict(bundle) for bundle in seats.bundles], strategy="PACK")
    try:
        if not group.wait(_PATIENCE_S):
            free = {name: ray.available_resources().get(name, 0.0) for name in ("CPU", "GPU")}
            raise TimeoutError(f"rl: no room for {list(seats.bundles)} within {_PATIENCE_S:g} s; free are {free}")
        yield Placement(seats, group)
    finally:
        remove_placement_group(group)


def start_trainer(kind: type, arguments: Sequence[Any], placement: Placement, rank: int, threads: int) -> Any:
    """An actor in a trainer's seat."""
    import ray

    environment = {"env_vars": worker_env(threads=threads)}
    actor: Any = ray.remote(**placement.trainer(rank), runtime_env=environment)(kind)
    return actor.remote(*arguments)


def start_engine(
    kind: type, arguments: Sequence[Any], placement: Placement, index: int, trainers: Sequence[Any]
) -> Any:
    """An actor in an engine's seat, which sees the GPUs of its hosts among the trainers, or those that Ray gives it."""
    import ray

    gpus = [gpu for rank in placement.plan.hosts[index] for gpu in gpus_of(trainers[rank])]
    shared = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    actor: Any = ray.remote(**placement.engine(index), runtime_env={"env_vars": worker_env() | shared})(kind)
    return actor.remote(*arguments)


def gpus_of(actor: Any) -> list[str]:
    """Ids of the GPUs that Ray has given an actor."""
    import ray

    found: list[str] = ray.get(actor.__ray_call__.remote(_own_gpus), timeout=_PATIENCE_S)
    return found


def free_address(placement: Placement) -> str:
    """Where the trainer's first worker can wait for the others, found out on its node."""
    import ray

    seat = placement.trainer(0) | {"num_cpus": 0, "num_gpus": 0}
    found: str = ray.get(ray.remote(**seat)(_free_address).remote(), timeout=_PATIENCE_S)
    return found


def _free_address() -> str:
    import socket

    from ray.util import get_node_ip_address

    with socket.socket() as taken:
        taken.bind(("", 0))
        return f"tcp://{get_node_ip_address()}:{taken.getsockname()[1]}"


def _own_gpus(_: Any) -> list[str]:
    import ray

    return [str(gpu) for gpu in ray.get_gpu_ids()]


def _apart(rl: RLConfig, cpus: float, worker_gpus: int, engine_gpus: int) -> Plan:
    workers, engines = rl.trainer_workers, rl.rollout.engines
    gpus = [worker_gpus] * workers + [engine_gpus] * engines
    seats = [Seat(i, cpus, each) for i, each in enumerate(gpus)]
    return Plan([_bundle(cpus, each) for each in gpus], seats[:workers], seats[workers:], [()] * engines)


def _together(rl: RLConfig, cpus: float) -> Plan:
    """A bundle for each engine and the workers whose GPUs it uses; they hold these, so that Ray counts each once."""
    size, engines = rl.rollout.tensor_parallel, rl.rollout.engines
    return Plan(
        [_bundle(cpus * (size + 1), size)] * engines,
        [Seat(rank // size, cpus, 1) for rank in range(rl.trainer_workers)],
        [Seat(i, cpus, 0) for i in range(engines)],
        [range(i * size, (i + 1) * size) for i in range(engines)],
    )


def _require_gpus(rl: RLConfig, available: float) -> None:
    engines, size, workers = rl.rollout.engines, rl.rollout.tensor_parallel, rl.trainer_workers
    if rl.placement == "colocated" and rl.asynchronous:
        raise ValueError(
            "rl.asynchronous generates while the trainer trains, and colocated both would need the same GPUs at once: "
            "set rl.placement to disaggregated"
        )
    if rl.placement == "colocated" and workers != engines * size:
        raise ValueError(
            f"rl.trainer_workers {workers} is not rl.rollout.engines {engines} x tensor_parallel {size}, and colocated "
            "engines use the trainer's GPUs: make them equal, or set rl.placement to disaggregated"
        )
    needed = engines * size + (workers if rl.placement == "disaggregated" else 0)
    if needed > available:
        raise ValueError(
            f"rl: {engines} engines of {size} GPUs and {workers} trainer workers, {rl.placement}, need {needed} GPUs; "
            f"the cluster has {available:g}: lower rl.rollout.engines or rl.trainer_workers"
        )


def _cpu_share(cpus: float, processes: int) -> float:
    """A core for each process, or an even part of one: halves and thirds of cores fill nodes of whole ones."""
    return int(10_000 / max(1, math.ceil(processes / cpus))) / 10_000  # Ray's units


def _bundle(cpus: float, gpus: int) -> Bundle:
    return {"CPU": cpus, **({"GPU": float(gpus)} if gpus else {})}
