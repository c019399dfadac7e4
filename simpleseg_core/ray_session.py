"""A Ray session for one stage: a local Ray that starts and ends with it, or a connection to a running cluster."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simpleseg_core.config import RayConfig
from simpleseg_core.environment import apply_defaults, forget_ray_key, worker_env
from simpleseg_core.family import found_family, scratch_folder

_log = logging.getLogger(__name__)

_MINIMUM_CPUS = 2
"""Reinforcement learning runs an engine beside a trainer; a machine with one core shares it."""

_ATTEMPTS = 3
_SLOW_START = "timed out during startup"
"""What Ray says when its node is not up after 30 s, a limit that cannot be set."""

_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it when it is imported: 0 is a node of its own, every server on 127.0.0.1, on Linux as on desktops."""


@dataclass(frozen=True, slots=True)
class RaySession:
    """What the session has to share out."""

    cpus: float
    gpus: float

    def check_room(self, key: str, workers: int, *, on_gpu: bool = True) -> None:
        """See that so many workers, a CPU each (and a GPU, where there are some and it is asked), can be there at once.

        Raises:
            ValueError: Ray would wait for ever; the message names the setting `key` and the cure.
        """
        wanted = {"CPUs": self.cpus} | ({"GPUs": self.gpus} if on_gpu and self.gpus else {})
        scarce = min(wanted, key=lambda kind: wanted[kind])
        if workers > wanted[scarce]:
            cure = "lower it, raise ray.num_cpus, or use a larger cluster (ray.address)"
            raise ValueError(
                f"{key} is {workers}, each takes one of the {wanted[scarce]:g} {scarce} of this Ray: {cure}"
            )


@contextmanager
def ray_session(config: RayConfig, *, env: Mapping[str, str] | None = None) -> Iterator[RaySession]:
    """Run the block with Ray: one CPU thread for each worker, the working copy importable, everything on loopback.

    A session inside a session shares the outer one, which then decides about `env`.

    Args:
        config: `address` of a cluster, or the sizes of the local Ray that starts here and stops with the block.
        env: further environment variables of every worker.

    Raises:
        ConnectionError: no cluster at `ray.address`.
    """
    apply_defaults()
    if config.address is None or config.address.startswith(("127.0.0.1", "localhost")):
        os.environ.setdefault(_LOOPBACK_ONLY, "0")
    if config.address is not None:
        forget_ray_key()
    import ray

    if ray.is_initialized():
        yield _resources()
        return
    with _folder(config) as folder:
        try:
            _start(config, worker_env() | {"PYTHONPATH": _python_path()} | dict(env or {}), folder)
            yield _resources()
        finally:
            ray.shutdown()


@contextmanager
def _folder(config: RayConfig) -> Iterator[Path | None]:
    """Where a local Ray keeps sockets, logs and spilled objects: gone with it, unless the user has named a place."""
    if config.address is not None:
        yield None
        return
    found_family()
    if named := os.environ.get("RAY_TMPDIR"):
        yield Path(named)
        return
    with scratch_folder(short=True) as folder:
        yield folder


def _start(config: RayConfig, env: dict[str, str], folder: Path | None) -> None:
    import ray

    common: dict[str, Any] = {"runtime_env": {"env_vars": env}, "logging_level": logging.ERROR, "log_to_driver": False}
    if config.address is not None:
        ray.init(address=config.address, **common)
        return
    local: dict[str, Any] = {
        "address": "local",
        "num_cpus": config.num_cpus or max(_MINIMUM_CPUS, os.cpu_count() or 1),
        "object_store_memory": config.object_store_mib << 20,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(folder),
    }
    for attempt in range(_ATTEMPTS):
        try:
            ray.init(**local, **common)
            return
        except Exception as error:  # Ray raises nothing more specific
            if _SLOW_START not in str(error) or attempt == _ATTEMPTS - 1:
                raise
            _log.warning("Ray did not start within its 30 s; the machine is busy, trying again")
            ray.shutdown()


def _resources() -> RaySession:
    import ray

    total = ray.cluster_resources()
    return RaySession(cpus=total.get("CPU", 0.0), gpus=total.get("GPU", 0.0))


def _python_path() -> str:
    """The working copy first, so that workers run the code of the driver, installed or not."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return root if not inherited else os.pathsep.join([root, inherited])
