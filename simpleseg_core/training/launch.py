"""Starting a supervised run on Ray Train and following it from the stage's process."""

from dataclasses import replace
from typing import Any

from simpleseg_core.config import Config
from simpleseg_core.environment import worker_env
from simpleseg_core.ray_session import ray_session
from simpleseg_core.stages import Context
from simpleseg_core.training.events import follow
from simpleseg_core.training.supervised import SupervisedRun


def launch(run: SupervisedRun, config: Config, context: Context) -> None:
    """Train on `run.train.workers` Ray Train workers; a killed run goes on from its newest checkpoint.

    Raises:
        RuntimeError: a worker failed; the message is its own.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    absolute = replace(run, output=run.output.absolute(), work=run.work.absolute())
    with ray_session(config.ray) as session, follow(absolute.work / "events.jsonl", context, run.fingerprint):
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"run": absolute},
            torch_config=TorchConfig(backend="nccl" if session.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=run.train.workers,
                use_gpu=session.gpus > 0,
                resources_per_worker={"CPU": 1, **({"GPU": 1} if session.gpus else {})},
            ),
            run_config=RunConfig(
                name=run.name,
                storage_path=str(absolute.work / "ray"),
                failure_config=FailureConfig(max_failures=0),
                worker_runtime_env={"env_vars": worker_env(threads=run.train.threads)},  # type: ignore[call-arg]  # v2's
            ),
        )
        trainer.fit()


def _worker(parameters: dict[str, Any]) -> None:
    """The function that Ray Train runs in each worker."""
    import torch
    from ray.train import get_context

    from simpleseg_core.training.parallel import device_of_worker
    from simpleseg_core.training.supervised import train

    run: SupervisedRun = parameters["run"]
    torch.set_num_threads(run.train.threads)
    context = get_context()
    train(run, device_of_worker(), context.get_world_rank(), context.get_world_size())
