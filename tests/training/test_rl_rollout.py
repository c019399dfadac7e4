"""Which answers a step draws: others in every step and every draw, the same in every run with the seed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from simpleseg_core.data.records import PROMPTS, read_rows
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.rollout import Completion, Request, Sampling
from simpleseg_core.training.rl_engines import Answered
from simpleseg_core.training.rl_rollout import Sampler
from tests.training.reinforcement import configuration


class Monotonous:
    """An engine that gives every prompt the same answers, so that each is drawn again; it keeps the seeds."""

    def __init__(self) -> None:
        self.seeds: list[int | None] = []

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answered]:
        self.seeds.append(sampling.seed)
        yield Answered(0, [[Completion("[]", (1,), True, None)] * sampling.n for _ in requests], 0)


def seeds(data: Path, seed: int) -> list[int | None]:
    """Of two steps that draw three times each."""
    engine, rows = Monotonous(), read_rows(data / "dataset" / "rl.parquet", PROMPTS)
    sampler = Sampler(configuration(prompts=1, max_resample=2).rl, seed, rows, ImageStore(data), engine)
    for step in range(2):
        sampler.roll_out(step, 3 * step)
    return engine.seeds


def test_no_two_draws_of_a_run_share_a_seed_and_two_runs_share_all(data: Path) -> None:
    drawn = seeds(data, 0)
    assert len(set(drawn)) == len(drawn) == 6
    assert drawn == seeds(data, 0)
    assert set(drawn).isdisjoint(seeds(data, 1))
