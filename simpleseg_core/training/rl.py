"""The loop of reinforcement learning: engines in Ray actors, a trainer in another, and weights carried between them."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from simpleseg_core.config import Config
from simpleseg_core.data.outlines import row_rle
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.environment import worker_env
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.ray_session import RaySession, ray_session
from simpleseg_core.rewards import RewardBatch, RewardFunction
from simpleseg_core.rollout import Completion, EngineSettings, Request, Sampling, open_engine, transfer_folder
from simpleseg_core.stages import Context
from simpleseg_core.training.gspo import has_variance
from simpleseg_core.training.probe import draw_probe
from simpleseg_core.training.prompt_filter import pass_rates, select_prompts
from simpleseg_core.training.rl_trainer import Group, Trainer, TrainerSpec
from simpleseg_core.viz import probe_sheet

_log = logging.getLogger(__name__)

Row = Mapping[str, Any]
"""A row of PROMPTS."""


@dataclass(frozen=True, slots=True)
class RLRun:
    """One GSPO run."""

    config: Config
    start: Path
    """HF folder of the SFT model."""
    prompts: Sequence[Row]
    images: Path
    """Root of the tar shards that `prompts` name."""
    probes: Sequence[Row]
    """Queries answered again and drawn every so often."""
    output: Path
    fingerprint: str


class EngineActor:
    """A generation engine in a process of its own."""

    def __init__(self, engine: str, model_dir: str, settings: EngineSettings) -> None:
        self._engine = open_engine(engine, model_dir, settings)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        return self._engine.generate(requests, sampling)

    def load_weights(self, path: Path) -> None:
        self._engine.load_weights(path)


class EnginePool:
    """Engines that share the requests of a call between them."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = actors

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Answers in the order of the requests; every engine draws from a seed of its own."""
        bounds = np.linspace(0, len(requests), len(self._actors) + 1).round().astype(int).tolist()
        parts = [requests[first:last] for first, last in pairwise(bounds)]
        seeds = [None if sampling.seed is None else sampling.seed + i for i in range(len(parts))]
        calls = [
            actor.generate.remote(part, replace(sampling, seed=seed))
            for actor, part, seed in zip(self._actors, parts, seeds, strict=True)
        ]
        return [answers for found in _get(calls) for answers in found]

    def load_weights(self, path: Path) -> None:
        """Give every engine the same new weights."""
        _get([actor.load_weights.remote(path) for actor in self._actors])


class PromptOrder:
    """Endless prompts, every epoch in a new order; addressed by position, so runs can go on anywhere."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed

    def take(self, cursor: int, size: int) -> list[int]:
        """Indices of the prompts at positions cursor, ..., cursor + size - 1."""
        return [self._at(position) for position in range(cursor, cursor + size)]

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self._count)
        return int(np.random.default_rng([self._seed, epoch]).permutation(self._count)[offset])


@dataclass(slots=True)
class _Rollout:
    """What one step sampled: groups worth training on, and statistics of all answers drawn for it."""

    groups: list[Group]
    drawn: int
    """Prompts drawn, those without variance included."""
    metrics: dict[str, float]


def train_rl(run: RLRun, context: Context) -> dict[str, float]:
    """Train from the newest checkpoint of the same run, if there is one, and write the HF checkpoint.

    Returns:
        The measurements of the last step.
    """
    with ray_session(run.config.ray) as session, _actors(run, session, context.work) as (engines, trainer):
        return _Loop(run, context, engines, trainer).run()


@contextmanager
def _actors(run: RLRun, session: RaySession, work: Path) -> Iterator[tuple[EnginePool, Any]]:
    """The engines' and the trainer's actors, with GPUs where the cluster has them."""
    import ray

    rl = run.config.rl
    start, device = str(run.start.absolute()), "cuda" if session.gpus else "cpu"
    spec = TrainerSpec(rl, run.config.model, start, work.absolute(), run.fingerprint, device)
    engine_gpus, trainer_gpus = _share_gpus(session.gpus, rl.rollout.engines, rl.rollout.tensor_parallel)
    threads = {"env_vars": worker_env(threads=rl.trainer_threads)}
    engine_actor: Any = ray.remote(num_cpus=1 / rl.rollout.engines, num_gpus=engine_gpus)(EngineActor)
    trainer_actor: Any = ray.remote(num_cpus=1, num_gpus=trainer_gpus, runtime_env=threads)(Trainer)
    settings = _engine_settings(run.config)
    trainer = trainer_actor.remote(spec)
    engines = [engine_actor.remote(rl.rollout.engine, start, settings) for _ in range(rl.rollout.engines)]
    try:
        yield EnginePool(engines), trainer
    finally:
        for actor in (*engines, trainer):
            ray.kill(actor)


def _engine_settings(config: Config) -> EngineSettings:
    rollout, model = config.rl.rollout, config.model
    return EngineSettings(
        dtype=model.dtype,
        max_length=rollout.max_length,
        max_num_seqs=rollout.max_num_seqs,
        kv_cache_mib=rollout.kv_cache_mib,
        gpu_memory_utilization=rollout.gpu_memory_utilization,
        tensor_parallel=rollout.tensor_parallel,
        min_pixels=model.min_pixels,
        max_pixels=model.max_pixels,
        trust_remote_code=model.trust_remote_code,
    )


def _share_gpus(gpus: float, engines: int, tensor_parallel: int) -> tuple[float, float]:
    """GPUs of each engine and of the trainer; a single one is shared by all."""
    if gpus == 0:
        return 0, 0
    if gpus > engines * tensor_parallel:
        return tensor_parallel, 1
    return 0.5 / engines, 0.5


def _get(reference: Any) -> Any:
    """The result of a call to an actor, or of several."""
    import ray

    return ray.get(reference)


class _Loop:
    """The driver: draws prompts, has them answered, scores the answers, has the trainer learn from them."""

    def __init__(self, run: RLRun, context: Context, engines: EnginePool, trainer: Any) -> None:
        self._run, self._context, self._engines, self._trainer = run, context, engines, trainer
        self._rl = run.config.rl
        self._images = ImageStore(run.images)
        self._prompts, self._chosen = run.prompts, dict[str, float]()
        self._order = PromptOrder(len(run.prompts), run.config.seed)
        self._rewards = RewardFunction(self._rl.rewards)

    def run(self) -> dict[str, float]:
        start, cursor = _get(self._trainer.resume.remote())
        if self._rl.prompt_filter.enabled:
            self._choose_prompts()
        self._context.progress.start(self._rl.steps, "rl")
        self._context.progress.advance(start)
        metrics: dict[str, float] = {}
        if start:
            _log.info("resuming reinforcement learning after step %d", start)
            self._sync()
        for step in range(start, self._rl.steps):
            metrics, cursor = self._step(step, cursor)
            self._report(step + 1, metrics)
            if (step + 1) % self._rl.checkpoint_every == 0 and step + 1 < self._rl.steps:
                _get(self._trainer.save.remote(step + 1, cursor))
        _get(self._trainer.finish.remote(self._run.output.absolute()))
        return metrics | self._chosen

    def _choose_prompts(self) -> None:
        """Draw from the prompts that the engines, which still hold the SFT model, neither solve nor always fail."""
        settings, state = self._rl.prompt_filter, self._context.work / "pass_rates.json"
        rates = pass_rates(self._run.prompts, self._try, settings.iou, state, self._run.fingerprint)
        selection = select_prompts(rates, settings)
        self._prompts = [self._run.prompts[i] for i in selection.kept]
        self._order = PromptOrder(len(self._prompts), self._run.config.seed)
        counts = (len(self._prompts), len(rates), selection.hopeless, selection.solved)
        self._chosen = {"prompts_kept": counts[0], "prompts_hopeless": counts[2], "prompts_solved": counts[3]}
        _log.info("prompts kept: %d of %d; %d hopeless, %d solved", *counts)

    def _try(self, rows: Sequence[Row], first: int) -> list[list[str]]:
        rollout, samples = self._rl.rollout, self._rl.prompt_filter.samples
        seed = _seed(self._run.config.seed, first)
        sampling = Sampling(rollout.max_tokens, rollout.temperature, rollout.top_p, n=samples, seed=seed)
        answers = self._engines.generate(self._requests(rows), sampling)
        return [[completion.text for completion in group] for group in answers]

    def _step(self, step: int, cursor: int) -> tuple[dict[str, float], int]:
        """One rollout batch and the update on it, strictly on-policy; returns measurements and the new cursor."""
        began = time.perf_counter()
        rollout = self._roll_out(step, cursor)
        seconds = time.perf_counter() - began
        update: dict[str, float] = {}
        if rollout.groups:
            update = _get(self._trainer.update.remote(rollout.groups, step))
        else:
            _log.warning("step %d: all answers to each prompt earned the same reward; nothing to learn from", step + 1)
        sync = self._sync()
        return {**rollout.metrics, **update, "rollout_s": seconds, "sync_s": sync}, cursor + rollout.drawn

    def _roll_out(self, step: int, cursor: int) -> _Rollout:
        """Sample until the batch is full of groups with different rewards, or the extra draws are used up."""
        groups: list[Group] = []
        drawn, completions, scores = 0, list[Completion](), list[RewardBatch]()
        for draw in range(1 + self._rl.max_resample):
            missing = self._rl.prompts - len(groups)
            if missing == 0:
                break
            rows = [self._prompts[i] for i in self._order.take(cursor + drawn, missing)]
            drawn += missing
            found, answers, scored = self._sample(rows, seed=_seed(self._run.config.seed, step, draw))
            groups += found
            completions += answers
            scores.append(scored)
        metrics = _answer_metrics(completions, scores) | {"zero_variance": 1 - len(groups) / drawn}
        return _Rollout(groups, drawn, metrics)

    def _sample(self, rows: Sequence[Row], seed: int) -> tuple[list[Group], list[Completion], RewardBatch]:
        """Answers to some prompts, scored; groups of equal rewards are left out of the first list."""
        size = self._rl.group_size
        requests = self._requests(rows)
        rollout = self._rl.rollout
        sampling = Sampling(rollout.max_tokens, rollout.temperature, rollout.top_p, n=size, seed=seed, logprobs=True)
        answers = self._engines.generate(requests, sampling)
        flat = [completion for group in answers for completion in group]
        truths = [row_rle(row) for row in rows for _ in range(size)]
        scored = self._rewards([completion.text for completion in flat], truths)
        rewards = torch.from_numpy(scored.total).reshape(len(rows), size)
        groups = [
            Group(request, group, tuple(reward))
            for request, group, reward, varies in zip(
                requests, answers, rewards.tolist(), has_variance(rewards), strict=True
            )
            if varies
        ]
        return groups, flat, scored

    def _sync(self) -> float:
        """Carry the trainer's weights to the engine; returns seconds."""
        began = time.perf_counter()
        with TemporaryDirectory(dir=transfer_folder(), prefix="simpleseg-") as folder:
            path = Path(folder) / "model.safetensors"
            _get(self._trainer.write_weights.remote(path))
            self._engines.load_weights(path)
        return time.perf_counter() - began

    def _report(self, step: int, metrics: Mapping[str, float]) -> None:
        self._context.progress.advance()
        self._context.tracker.metrics(metrics, step)
        if step % self._rl.probe_every == 0 and self._run.probes:
            requests = self._requests(self._run.probes)
            answers = self._engines.generate(requests, Sampling(self._rl.rollout.max_tokens))
            drawn = [
                draw_probe(row, request.image, answer[0].text)
                for row, request, answer in zip(self._run.probes, requests, answers, strict=True)
            ]
            self._context.tracker.image("probe", probe_sheet(drawn), step)

    def _requests(self, rows: Sequence[Row]) -> list[Request]:
        return [Request(self._images.read(row["shard"], row["image"]), row["question"]) for row in rows]


def _seed(*parts: int) -> int:
    return int(np.random.default_rng(parts).integers(2**31))


def _answer_metrics(completions: Sequence[Completion], scores: Sequence[RewardBatch]) -> dict[str, float]:
    """Statistics over all answers of a step."""
    rewards = np.concatenate([batch.total for batch in scores])
    terms = {name: np.concatenate([batch.terms[name] for batch in scores]) for name in scores[0].terms}
    return {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        **{f"reward_{name}": float(values.mean()) for name, values in terms.items()},
        "reward_failed": float(sum(batch.failed for batch in scores)),
        "valid": float(np.mean([parse_polygons(completion.text).error is None for completion in completions])),
        "answer_tokens": float(np.mean([len(completion.token_ids) for completion in completions])),
        "truncated": float(np.mean([not completion.finished for completion in completions])),
    }
