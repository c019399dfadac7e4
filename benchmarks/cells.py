"""One cell of `benchmarks/objectives.py`: a model on one device is trained by one objective and judged."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fast_policy import EncodedPrompts, Learner, Sampled, Sampler
from scenes import Scenes

from simpleseg_core.config import Config, OptimizerConfig
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.rewards import RewardBatch, RewardFunction
from simpleseg_core.rollout import forbidden_ids, read_weights, stop_ids, write_weights
from simpleseg_core.training.objectives import Rewards, objective
from simpleseg_core.training.optimizer import build_optimizer
from simpleseg_core.training.order import EpochOrder
from simpleseg_core.training.policy import AnswerTokens, Policy
from simpleseg_core.training.schedule import learning_rate

Scored = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What every cell of one results file has in common."""

    model: str
    steps: int
    prompts: int
    group: int
    lr: float
    temperature: float
    pool: int
    present_only: bool
    held_out: int
    scenes_seed: int
    margin: float
    epochs: int
    distill_lr: float
    distill_batch: int


class Stopped(Exception):
    """The time is up."""


class Bench:
    """One model on one device, with scenes to learn from and scenes to be judged by."""

    def __init__(
        self, config: Config, settings: Settings, pool: Scenes, held_out: Scenes, micro: int, workers: int
    ) -> None:
        self._config, self.settings, self._micro = config, settings, micro
        torch.set_float32_matmul_precision("high")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        processor = load_processor(settings.model, self._config.model)
        self.model: Any = load_model(settings.model, self._config.model).to(device).train()  # type: ignore[arg-type]
        self._start = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        forbidden = forbidden_ids(settings.model)
        self._policy = Policy(self.model, processor, forbidden, settings.temperature)
        self._plain = Policy(self.model, processor, forbidden, 1.0)
        self._max_tokens = self._config.rl.rollout.max_tokens
        self._sampler = Sampler(self._policy, forbidden, stop_ids(settings.model), self._max_tokens)
        self._decode = processor.tokenizer.batch_decode
        self._scenes = {"pool": pool, "held_out": held_out}
        self._encoded = {name: EncodedPrompts(self._policy, s.requests) for name, s in self._scenes.items()}
        self._rewards = RewardFunction(self._config.rl.rewards.model_copy(update={"workers": workers}))

    def load(self, weights: Path | None) -> None:
        """Start again from the SFT model, or from a distilled one."""
        self.model.load_state_dict(self._start)
        if weights is not None:
            self.model.load_state_dict(dict(read_weights(weights)), strict=False)

    def judge(self) -> Scored:
        """Greedy answers to the held-out queries: the IoU of each, and what is said of them."""
        size = self.settings.prompts * 2
        parts = range(0, len(self._encoded["held_out"]), size)
        found = [self._draw("held_out", list(self._indices("held_out", first, size)), 1, 0.0) for first in parts]
        answers = [answer for sampled, _ in found for answer in sampled.answers]
        ious = np.concatenate([scored.terms["iou"] for _, scored in found])
        return {
            "iou": ious.round(4).tolist(),
            "tokens": float(np.mean([len(answer.token_ids) for answer in answers])),
            "finished": float(np.mean([done for sampled, _ in found for done in sampled.finished])),
        }

    def reinforce(self, name: str, seed: int, deadline: float) -> list[dict[str, float]]:
        """Train by one objective from the weights as they are; returns the curve."""
        torch.manual_seed(seed)
        row, settings = objective(name), self.settings
        rates = OptimizerConfig(lr=settings.lr, min_lr=settings.lr / 10, warmup_ratio=0.1, weight_decay=0.0)
        learner = Learner(self._policy, build_optimizer(self.model, rates), self._micro, rates.grad_clip)
        order, curve = EpochOrder(len(self._encoded["pool"]), seed), []
        for step in range(settings.steps):
            _check(deadline)
            began = time.perf_counter()
            chosen = order.take(step * settings.prompts, settings.prompts)
            sampled, scored = self._draw("pool", chosen, settings.group, settings.temperature)
            drawn = time.perf_counter() - began
            advantages = row.advantages(self._group(scored)).flatten().tolist()
            rate = learning_rate(step, settings.steps, rates)
            norm = learner.reinforce(sampled, advantages, row, self._max_tokens, rate)
            curve.append({
                "reward": float(scored.total.mean()), "iou": float(scored.terms["iou"].mean()), "grad_norm": norm,
                "tokens": float(np.mean([len(a.token_ids) for a in sampled.answers])),
                "sample_s": drawn, "step_s": time.perf_counter() - began,
            })  # fmt: skip
        return curve

    def distill(self, seed: int, deadline: float) -> dict[str, float]:
        """Learn the best of n answers to each prompt where it beats the greedy one by the margin."""
        torch.manual_seed(seed)
        settings, targets = self.settings, list[tuple[int, AnswerTokens]]()
        for first in range(0, len(self._encoded["pool"]), settings.prompts):
            _check(deadline)
            targets += self._better(list(self._indices("pool", first, settings.prompts)))
        steps = settings.epochs * len(targets) // settings.distill_batch
        rates = OptimizerConfig(lr=settings.distill_lr, min_lr=settings.distill_lr / 100, weight_decay=0.0)
        learner = Learner(self._plain, build_optimizer(self.model, rates), self._micro, rates.grad_clip)
        order = EpochOrder(len(targets), seed)
        for step in range(steps):
            _check(deadline)
            chosen = [targets[i] for i in order.take(step * settings.distill_batch, settings.distill_batch)]
            prompts = self._encoded["pool"].take([prompt for prompt, _ in chosen])
            answers = [AnswerTokens(index, answer.token_ids) for index, (_, answer) in enumerate(chosen)]
            learner.imitate(prompts, answers, learning_rate(step, steps, rates))
        return {"prompts": len(self._encoded["pool"]), "targets": len(targets), "steps": steps}

    def _better(self, indices: Sequence[int]) -> Iterator[tuple[int, AnswerTokens]]:
        """The best sampled answer to each prompt, with the prompt's index, where it earns more than the greedy one."""
        size = self.settings.group
        greedy = self._draw("pool", indices, 1, 0.0)[1].total
        sampled, scored = self._draw("pool", indices, size, self.settings.temperature)
        rewards = scored.total.reshape(-1, size)
        for position, (index, best) in enumerate(zip(indices, rewards.argmax(1).tolist(), strict=True)):
            if rewards[position, best] > greedy[position] + self.settings.margin:
                yield index, sampled.answers[position * size + best]

    def _draw(self, name: str, indices: Sequence[int], n: int, temperature: float) -> tuple[Sampled, RewardBatch]:
        self.model.eval()
        sampled = self._sampler(self._encoded[name].take(indices), n, temperature)
        self.model.train()
        texts = self._decode([list(a.token_ids) for a in sampled.answers], skip_special_tokens=True)
        truths = [self._scenes[name].truths[i] for i in indices for _ in range(n)]
        return sampled, self._rewards(texts, truths, sampled.finished)

    def _group(self, scored: RewardBatch) -> Rewards:
        size, rl = self.settings.group, self._config.rl
        terms = {name: torch.from_numpy(values).reshape(-1, size) for name, values in scored.terms.items()}
        total = torch.from_numpy(scored.total).reshape(-1, size)
        return Rewards(total, terms, rl.rewards.weights, rl.normalise_std, rl.min_reward_spread)

    def _indices(self, name: str, first: int, size: int) -> range:
        return range(first, min(first + size, len(self._encoded[name])))


@dataclass(frozen=True, order=True)
class Cell:
    """One piece of work; those without an objective judge what the others start from."""

    seed: int
    objective: str
    distilled: bool

    @property
    def key(self) -> str:
        return f"{self.objective or 'start'}/{'distilled' if self.distilled else 'sft'}/{self.seed}"


def run_cell(bench: Bench, cell: Cell, out: Path, deadline: float) -> Scored:
    """Train and judge one cell.

    Raises:
        Stopped: the deadline passed; nothing of the cell counts.
    """
    began, weights = time.perf_counter(), out / f"distilled-{cell.seed}.safetensors"
    result: Scored = {}
    bench.load(weights if cell.distilled and cell.objective else None)
    if cell.objective:
        result["curve"] = bench.reinforce(cell.objective, cell.seed, deadline)
    elif cell.distilled:
        result["distilled"] = bench.distill(cell.seed, deadline)
        write_weights(bench.model.state_dict(), weights)
    return result | bench.judge() | {"seconds": time.perf_counter() - began}


def _check(deadline: float) -> None:
    if time.time() > deadline:
        raise Stopped
