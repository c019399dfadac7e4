"""The loop of reinforcement learning: prompts drawn, answered, scored and learned from, and weights carried back."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simpleseg_core.config import Config
from simpleseg_core.contract import Context
from simpleseg_core.data.shards import ImageStore
from simpleseg_core.ray_session import ray_session
from simpleseg_core.rollout import Sampling
from simpleseg_core.training.probe import draw_probes, probe_giou
from simpleseg_core.training.prompt_filter import pass_rates, select_prompts
from simpleseg_core.training.rl_actors import actors
from simpleseg_core.training.rl_engines import EnginePool
from simpleseg_core.training.rl_measured import Measured
from simpleseg_core.training.rl_rollout import Row, SampledStep, Sampler, derived_seed, requests_of
from simpleseg_core.training.rl_table import RolloutTable, rollout_table, rollouts_folder, write_rollouts
from simpleseg_core.training.rl_team import TrainerLost, TrainerTeam
from simpleseg_core.training.rl_trainer import TrainerSpec
from simpleseg_core.training.schedule import is_due

_log = logging.getLogger(__name__)
_DRAWN = 4
"""Of the held-out queries."""
_CUT_OFF = ""
"""What an answer counts as that did not end by itself: an unreadable one."""


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
    """Held-out queries answered again every so often: their gIoU is a curve, and the first of them are drawn."""
    render: Callable[[RolloutTable], str]
    """Makes a page of a table of rollouts."""
    output: Path
    fingerprint: str


def train_rl(run: RLRun, context: Context) -> dict[str, float]:
    """Train from the newest checkpoint of the same run, if there is one, and write the HF checkpoint.

    Returns:
        The measurements of the last step.
    """
    config, start = run.config, str(run.start.absolute())
    with ray_session(config.ray) as session:
        device = "cuda" if session.gpus else "cpu"
        spec = TrainerSpec(config.rl, config.model, start, context.work.absolute(), run.fingerprint, device)
        with actors(config, spec, session) as (engines, trainer):
            return _Loop(run, context, engines, trainer).run()


class _Loop:
    """The driver: has prompts answered and scored, the trainer learn from them, the engines take the new weights."""

    def __init__(self, run: RLRun, context: Context, engines: EnginePool, trainer: TrainerTeam) -> None:
        self._run, self._context, self._engines, self._trainer = run, context, engines, trainer
        self._rl, self._images = run.config.rl, ImageStore(run.images)
        self._chosen = dict[str, float]()
        self._metrics = dict[str, float]()
        """Of the last step."""
        self._told = 0
        """Steps reported: one that is done again, after the trainer was lost, is not told twice."""
        self._drawn = self._dropped = 0
        """Prompts that have been answered, and those of them that were lost with a trainer, and are answered again."""

    def run(self) -> dict[str, float]:
        self._context.progress.start(self._rl.steps, "rl")
        prompts = self._chosen_prompts() if self._rl.prompt_filter.enabled else self._run.prompts
        self._sampler = Sampler(self._rl, self._run.config.seed, prompts, self._images, self._engines)
        while True:
            try:
                self._train()
                return self._metrics | self._chosen
            except TrainerLost as lost:
                self._trainer.restart(lost)

    def _train(self) -> None:
        """All steps behind the newest checkpoint."""
        start, cursor = self._resume()
        rollout: SampledStep | None = None
        for step in range(start, self._rl.steps):
            began, busy = time.perf_counter(), self._engines.busy_s
            rollout = rollout or self._roll_out(step, cursor)
            cursor += len(rollout.scored)
            update = self._trainer.begin_update(rollout.groups, step)
            ahead = self._roll_out(step + 1, cursor) if self._is_ahead(step) else None
            measured = self._trainer.measured(update)
            times = {"sync_s": self._sync(step + 1), "step_s": time.perf_counter() - began}
            times["engines_s"] = (self._engines.busy_s - busy) / self._engines.count
            self._report(step, rollout, measured, times)
            rollout = ahead
            if (step + 1) % self._rl.checkpoint_every == 0 and step + 1 < self._rl.steps:
                self._trainer.save(step + 1, cursor)
        self._trainer.finish(self._run.output.absolute())

    def _roll_out(self, step: int, cursor: int) -> SampledStep:
        rollout = self._sampler.roll_out(step, cursor)
        self._drawn = cursor + len(rollout.scored)
        return rollout

    def _resume(self) -> tuple[int, int]:
        """Steps done, and prompts drawn in them; answers that were under way are lost with whoever was to learn."""
        resumed = self._trainer.resume()
        for note in resumed.notes:
            _log.warning(note)
        if resumed.step != self._engines.version:
            _log.info("resuming reinforcement learning after step %d", resumed.step)
            self._sync(resumed.step)
        self._dropped += max(0, self._drawn - resumed.cursor)
        self._context.progress.advance(max(0, resumed.step - self._told))
        self._told = max(self._told, resumed.step)
        return resumed.step, resumed.cursor

    def _is_ahead(self, step: int) -> bool:
        """Whether the next step's answers are generated while this one trains."""
        return self._rl.asynchronous and step + 1 < self._rl.steps

    def _chosen_prompts(self) -> list[Row]:
        """Prompts that the engines, which still hold the SFT model, neither solve nor always fail."""
        settings, state = self._rl.prompt_filter, self._context.work / "pass_rates.json"
        style, mark = self._rl.rewards.style, self._run.fingerprint
        rates = pass_rates(self._run.prompts, self._try, settings.iou, state, mark, style)
        selection = select_prompts(rates, settings)
        counts = (len(selection.kept), len(rates), selection.hopeless, selection.solved)
        self._chosen = {"prompts_kept": counts[0], "prompts_hopeless": counts[2], "prompts_solved": counts[3]}
        _log.info("prompts kept: %d of %d; %d hopeless, %d solved", *counts)
        return [self._run.prompts[i] for i in selection.kept]

    def _try(self, rows: Sequence[Row], first: int) -> list[list[str]]:
        rollout, samples = self._rl.rollout, self._rl.prompt_filter.samples
        seed = derived_seed(self._run.config.seed, first)
        sampling = Sampling(rollout.max_tokens, rollout.temperature, rollout.top_p, n=samples, seed=seed)
        answers = self._engines.generate(requests_of(rows, self._images), sampling)
        return [[completion.text if completion.finished else _CUT_OFF for completion in group] for group in answers]

    def _sync(self, version: int) -> float:
        """Carry the trainer's weights to the engines; returns seconds."""
        began = time.perf_counter()
        self._engines.load_weights(self._trainer.weights(version), version)
        return time.perf_counter() - began

    def _report(self, step: int, rollout: SampledStep, measured: Measured, times: Mapping[str, float]) -> None:
        if not rollout.groups:
            _log.warning("step %d: all answers to each prompt earned nearly the same; nothing to learn from", step + 1)
        self._metrics = {**rollout.metrics(step), **measured.summary(), **times, **self._losses()}
        self._metrics |= _idle(self._metrics)
        if step < self._told:
            return
        self._told = step + 1
        if is_due(step, self._rl.probe_every) and self._run.probes:
            self._metrics["probe_giou"] = self._probe(step)
        if is_due(step, self._rl.table_every):
            self._show(rollout_table(step + 1, rollout, measured))
        self._context.progress.advance(1, f"reward {self._metrics['reward']:.4g}")
        self._context.tracker.metrics(self._metrics, step + 1)

    def _probe(self, step: int) -> float:
        """gIoU of greedy answers to the held-out queries, of which the first are drawn."""
        rows, requests = self._run.probes, requests_of(self._run.probes, self._images)
        answers = self._engines.generate(requests, Sampling(self._rl.rollout.max_tokens))
        drawn = draw_probes(rows[:_DRAWN], requests[:_DRAWN], answers[:_DRAWN], self._rl.rewards.style)
        self._context.tracker.image("rl answers", drawn, step + 1)
        return probe_giou(rows, answers, self._rl.rewards.style)

    def _show(self, table: RolloutTable) -> None:
        write_rollouts(table, rollouts_folder(self._context.work))
        self._context.tracker.page("rollouts", self._run.render(table), table.step)

    def _losses(self) -> dict[str, float]:
        return {
            "engines_replaced": float(self._engines.replaced),
            "trainer_restarts": float(self._trainer.restarts),
            "prompts_dropped": float(self._dropped),
        }


def _idle(metrics: Mapping[str, float]) -> dict[str, float]:
    """Shares of a step in which the engines, the rewards and the trainer had nothing to do."""
    whole = metrics["step_s"]
    busy = {"engines": metrics["engines_s"], "rewards": metrics["reward_s"], "trainer": metrics.get("train_s", 0.0)}
    return {f"{name}_idle": max(0.0, 1 - seconds / whole) for name, seconds in busy.items()}
