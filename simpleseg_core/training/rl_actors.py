"""The processes of reinforcement learning: engines and the trainer's workers, each in its seat, replaced when lost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from simpleseg_core.config import Config
from simpleseg_core.ray_session import RaySession
from simpleseg_core.rollout import engine_settings
from simpleseg_core.training.rl_batch import Team
from simpleseg_core.training.rl_engines import EngineActor, EnginePool
from simpleseg_core.training.rl_lost import Limits
from simpleseg_core.training.rl_placement import Placement, free_address, reserve, start_engine, start_trainer
from simpleseg_core.training.rl_team import TrainerTeam, Worker
from simpleseg_core.training.rl_trainer import Trainer, TrainerSpec


@contextmanager
def actors(config: Config, spec: TrainerSpec, session: RaySession) -> Iterator[tuple[EnginePool, TrainerTeam]]:
    """Everyone that a run needs, for the length of the block."""
    rl = config.rl
    limits = Limits(rl.timeout_s, rl.max_replacements)
    engine = (rl.rollout.engine, spec.start, engine_settings(rl.rollout, config.model))
    with reserve(rl, session) as placement:
        trainer = TrainerTeam(lambda: _workers(spec, placement), limits)
        pool = EnginePool(
            lambda index: start_engine(EngineActor, engine, placement, index, trainer.workers),
            rl.rollout.engines,
            rl.rollout.prompts_per_call,
            limits,
        )
        try:
            yield pool, trainer
        finally:
            pool.close()
            trainer.close()


def _workers(spec: TrainerSpec, placement: Placement) -> Sequence[Worker]:
    size = spec.rl.trainer_workers
    address = free_address(placement) if size > 1 else ""
    return [
        start_trainer(Trainer, (spec, Team(rank, size, address)), placement, rank, spec.rl.trainer_threads)
        for rank in range(size)
    ]
