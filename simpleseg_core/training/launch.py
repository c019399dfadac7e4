"""Starting a supervised run on Ray Train and following it from the stage's process."""

import logging
from dataclasses import replace
from typing import Any

from simpleseg_core.config import Config
from simpleseg_core.contract import Context
from simpleseg_core.environment import worker_env
from simpleseg_core.ray_session import ray_session
from simpleseg_core.training.events import follow
from simpleseg_core.training.failures import fault_file, saving_on_sigterm, stop_file, telling_faults
from simpleseg_core.training.heartbeat import heartbeat, watching
from simpleseg_core.training.run import SupervisedRun

_log = logging.getLogger(__name__)


def launch(run: SupervisedRun, config: Config, context: Context) -> None:
    """Train on `run.train.workers` Ray Train workers; a killed run goes on from its newest checkpoint, and so does one
    that loses a worker, by itself.

    Raises:
        KeyboardInterrupt: SIGTERM came, and the run has saved its state.
        RuntimeError: a worker failed; the message is its own.
        ValueError: there are more workers than CPUs or GPUs, for which Ray would wait for ever.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    journal = context.journal
    absolute = replace(run, output=run.output.absolute(), work=run.work.absolute(), journal=journal)
    patience = run.train.workers, run.train.stall_s
    with (
        ray_session(config.ray) as session,
        follow(journal, context.progress),
        saving_on_sigterm(absolute.work),
        watching(run.name, absolute.work, *patience, _log.warning),
    ):
        session.check_room(f"{run.name}.workers", run.train.workers)
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
                failure_config=FailureConfig(max_failures=run.train.max_failures),
                worker_runtime_env={"env_vars": worker_env(threads=run.train.threads)},  # type: ignore[call-arg]  # v2's
            ),
        )
        trainer.fit()
    _say_how_it_ended(absolute)


def _say_how_it_ended(run: SupervisedRun) -> None:
    if fault_file(run.work).exists():
        raise RuntimeError(fault_file(run.work).read_text(encoding="utf-8"))
    if stop_file(run.work).exists():
        stop_file(run.work).unlink()
        raise KeyboardInterrupt


def _worker(parameters: dict[str, Any]) -> None:
    """The function that Ray Train runs in each worker."""
    import torch
    from ray.train import get_context

    from simpleseg_core.training.parallel import device_of_worker
    from simpleseg_core.training.supervised import train

    run: SupervisedRun = parameters["run"]
    if fault_file(run.work).exists():
        return  # this is another attempt at what cannot succeed
    torch.set_num_threads(run.train.threads)
    context = get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    with telling_faults(run), heartbeat(run.work, rank, run.train.stall_s) as beat:
        train(run, device_of_worker(), rank, size, beat)
