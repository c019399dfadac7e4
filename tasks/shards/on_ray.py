"""Parts of shards spread over Ray Data: CPU tasks that load, a pool of actors with an engine each that work."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from simpleseg_core.config import RayConfig
from simpleseg_core.data.records import read_rows
from simpleseg_core.ray_session import RaySession, ray_session
from tasks.shards.parts import DonePart, Step, finish, load, split

_LOADER_CPUS = 0.5
"""A loader waits for its disk half of the time; and with as many CPUs as an engine the two would be fused into one."""
_AHEAD = 2
"""Parts that wait at each engine. More wait in the object store until it is full, then the loaders wait (Ray Data)."""


def ray_runner(config: RayConfig, workers: int, on_gpu: bool) -> Callable[..., Iterator[DonePart]]:
    """A runner of `ShardMap` for `workers` engines, which must see the folders of images and tables.

    Args:
        config: the cluster, or the sizes of a local Ray that lives as long as the work.
        workers: engines side by side, fewer where the cluster has no room for so many.
        on_gpu: whether an engine takes a GPU where the cluster has some.
    """

    def run(step: Step, shards: Sequence[Path], schema: pa.Schema) -> Iterator[DonePart]:
        with ray_session(config) as session:
            gpus = int(on_gpu and session.gpus > 0)
            yield from _run(step, shards, schema, _fitting(workers, session, gpus), gpus)

    return run


def _fitting(workers: int, session: RaySession, gpus: int) -> int:
    """Engines take a CPU each, and one is left to the loaders, which would wait for ever otherwise."""
    room = int(session.cpus - 2 * _LOADER_CPUS)
    return max(1, min(workers, room, int(session.gpus) if gpus else room))


def _run(step: Step, shards: Sequence[Path], schema: pa.Schema, workers: int, gpus: int) -> Iterator[DonePart]:
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # reading the context sets it too
    items = [{"path": str(path)} for path in shards]
    engine: Any = _Engine  # Ray's types know functions only
    pool = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=_AHEAD)
    done = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .flat_map(_Loader(step, schema).load, num_cpus=_LOADER_CPUS)
        .map(engine, fn_constructor_args=(step,), compute=pool, num_cpus=1, num_gpus=gpus)
    )
    for row in done.iter_rows():
        yield row["done"]


class _Loader:
    """A Ray task's function: the parts of one shard, their images decoded."""

    def __init__(self, step: Step, schema: pa.Schema) -> None:
        self._step, self._schema = step, schema

    def load(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        path = Path(item["path"])
        for part in split(path, read_rows(path, self._schema)):
            yield {"loaded": load(self._step, part)}


class _Engine:
    """A Ray actor that holds an engine."""

    def __init__(self, step: Step) -> None:
        step.open()
        self._step = step

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"done": finish(self._step, item["loaded"])}
