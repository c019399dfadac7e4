"""Who runs on which GPU: on a real Ray that believes in eight of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from simpleseg_core.config import RLConfig
from simpleseg_core.environment import apply_defaults, worker_env
from simpleseg_core.ray_session import RaySession
from simpleseg_core.training.rl_placement import gpus_of, plan, reserve, start_engine, start_trainer

SESSION = RaySession(cpus=2, gpus=8)


class Seen:
    """Says which GPUs its process sees."""

    def visible(self) -> list[str]:
        return [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]


@pytest.fixture(scope="module")
def pretended(repository: Path) -> Iterator[None]:
    apply_defaults()
    environment = {"env_vars": worker_env() | {"PYTHONPATH": str(repository)}}
    ray.init(
        address="local", num_cpus=2, num_gpus=8, include_dashboard=False, _node_ip_address="127.0.0.1",
        object_store_memory=100 << 20, log_to_driver=False, runtime_env=environment,
    )  # fmt: skip
    yield
    ray.shutdown()


def settings(placement: str, engines: int, size: int, workers: int) -> RLConfig:
    rollout = {"engines": engines, "tensor_parallel": size}
    return RLConfig.model_validate({"placement": placement, "trainer_workers": workers, "rollout": rollout})


def seen(rl: RLConfig) -> tuple[list[list[str]], list[list[str]]]:
    """GPUs that each trainer worker and each engine sees."""
    with reserve(rl, SESSION) as placement:
        trainers: list[Any] = [start_trainer(Seen, (), placement, i, 1) for i in range(rl.trainer_workers)]
        engines = [start_engine(Seen, (), placement, i, trainers) for i in range(rl.rollout.engines)]
        everyone = [*trainers, *engines]
        found = ray.get([each.visible.remote() for each in everyone], timeout=120)
        assert [gpus_of(each) for each in trainers] == found[: len(trainers)], "what Ray counts is what they see"
        for each in everyone:
            ray.kill(each)
    return found[: len(trainers)], found[len(trainers) :]


@pytest.mark.parametrize(("engines", "size", "workers"), [(7, 1, 1), (2, 2, 4)])
@pytest.mark.usefixtures("pretended")
def test_disaggregated_processes_have_gpus_of_their_own(engines: int, size: int, workers: int) -> None:
    theirs, ours = seen(settings("disaggregated", engines, size, workers))
    assert [len(each) for each in theirs + ours] == [1] * workers + [size] * engines
    taken = [gpu for each in theirs + ours for gpu in each]
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize(("engines", "size"), [(2, 2)])
@pytest.mark.usefixtures("pretended")
def test_colocated_engines_use_the_gpus_of_their_workers(engines: int, size: int) -> None:
    theirs, ours = seen(settings("colocated", engines, size, engines * size))
    assert [len(each) for each in ours] == [size] * engines
    assert [gpu for each in ours for gpu in each] == [gpu for each in theirs for gpu in each]
    assert len({gpu for each in ours for gpu in each}) == engines * size


@pytest.mark.parametrize(
    ("rl", "message"),
    [
        (settings("disaggregated", 8, 1, 1), "need 9 GPUs; the cluster has 8"),
        (settings("colocated", 9, 1, 9), "need 9 GPUs; the cluster has 8"),
        (settings("colocated", 8, 1, 1), "rl.trainer_workers 1 is not rl.rollout.engines 8 x tensor_parallel 1"),
        (
            settings("colocated", 1, 1, 1).model_copy(update={"asynchronous": True}),
            "both would need the same GPUs at once: set rl.placement to disaggregated",
        ),
    ],
)
def test_what_has_no_room_is_refused_at_the_start(rl: RLConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(rl, SESSION)


def test_without_gpus_all_share_the_cores() -> None:
    seats = plan(settings("colocated", 2, 1, 2), RaySession(cpus=2, gpus=0))
    assert [seat.gpus for seat in (*seats.trainers, *seats.engines)] == [0] * 4
    assert sum(bundle["CPU"] for bundle in seats.bundles) <= 2
