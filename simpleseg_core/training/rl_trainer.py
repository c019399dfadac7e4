"""The trainer of reinforcement learning: it owns the weights and improves them on batches of scored answers."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simpleseg_core.config import ModelConfig, RLConfig
from simpleseg_core.models import DTYPES, load_model, load_processor, save_checkpoint
from simpleseg_core.rollout import Completion, Request, forbidden_ids, write_weights
from simpleseg_core.training.checkpoint import Checkpoints
from simpleseg_core.training.gspo import group_advantages, kl_k3, log_ratio, surrogate
from simpleseg_core.training.optimizer import build_optimizer, clip_gradients
from simpleseg_core.training.policy import Answer, Policy, Prompts
from simpleseg_core.training.schedule import learning_rate


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its sampled answers and their rewards."""

    request: Request
    completions: Sequence[Completion]
    rewards: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Sample:
    """An answer with what the objective needs to know about it."""

    answer: Answer
    advantage: float
    engine_logp: float
    """Mean log-probability of a token by the engine."""


@dataclass(frozen=True, slots=True)
class TrainerSpec:
    """What a trainer starts from; plain values, so that it can be sent to an actor."""

    rl: RLConfig
    model: ModelConfig
    start: str
    """Folder of the SFT checkpoint."""
    work: Path
    fingerprint: str
    device: str


class Trainer:
    """Weights, optimizer and checkpoints of a GSPO run."""

    def __init__(self, spec: TrainerSpec) -> None:
        self._spec = spec
        self._processor = load_processor(spec.start, spec.model)
        self._model = self._load()
        self._policy = self._policy_of(self._model)
        self._reference = self._policy_of(self._load().requires_grad_(False)) if spec.rl.kl else None
        self._optimizer = build_optimizer(self._model, spec.rl.optimizer)
        self._checkpoints = Checkpoints(spec.work / "checkpoints", spec.fingerprint)

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """One optimizer step for each minibatch of groups; returns what was measured, averaged over answers."""
        began = time.perf_counter()
        rl = self._spec.rl
        rate = learning_rate(step, rl.steps, rl.optimizer)
        parts = [groups[i] for i in _split(len(groups), rl.minibatches)]
        batches = [self._batch(part) for part in parts]
        old = [self._old_logps(*batch) for batch in batches] if len(batches) > 1 else [None]
        meter = _Meter()
        for batch, logps in zip(batches, old, strict=True):
            self._step(*batch, logps, rate, meter)
        tokens = sum(len(completion.token_ids) for group in groups for completion in group.completions)
        seconds = time.perf_counter() - began
        return {**meter.summary(), "lr": rate, "train_s": seconds, "train_tokens_per_s": tokens / seconds}

    def write_weights(self, path: Path) -> None:
        """Hand the weights over to an engine, in its type."""
        write_weights(self._model.state_dict(), path, DTYPES[self._spec.model.dtype])

    def save(self, step: int, cursor: int) -> None:
        """Checkpoint after `step` steps, in which `cursor` prompts were drawn."""
        state = {"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict(), "cursor": cursor}
        self._checkpoints.save(step, state)

    def resume(self) -> tuple[int, int]:
        """Load the newest checkpoint of this run; returns its step and cursor, (0, 0) where there is none."""
        latest = self._checkpoints.latest()
        if latest is None:
            return 0, 0
        step, state = latest
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        return step, int(state["cursor"])

    def finish(self, output: Path) -> None:
        """Write the HF checkpoint and forget the state of training."""
        dtype = DTYPES[self._spec.model.dtype]
        self._model.config.dtype = dtype
        state = {name: tensor.to(dtype) for name, tensor in self._model.state_dict().items()}
        save_checkpoint(self._model, self._processor, output, state)
        self._checkpoints.clear()

    def _load(self) -> Any:
        """The starting weights in float32, the master copy whatever the compute type."""
        model = load_model(self._spec.start, self._spec.model.model_copy(update={"dtype": "float32"}))
        return model.to(self._spec.device).train()  # type: ignore[arg-type]

    def _policy_of(self, model: Any) -> Policy:
        forbidden = forbidden_ids(self._spec.start, self._spec.model.trust_remote_code)
        dtype = DTYPES[self._spec.model.dtype]
        autocast = None if dtype is torch.float32 else dtype
        return Policy(model, self._processor, forbidden, self._spec.rl.rollout.temperature, autocast)

    def _batch(self, groups: Sequence[Group]) -> tuple[Prompts, list[_Sample]]:
        rewards = torch.tensor([list(group.rewards) for group in groups], dtype=torch.float64)
        advantages = group_advantages(rewards, self._spec.rl.normalise_std).tolist()
        samples = [
            _Sample(Answer(index, completion.token_ids), advantage, _mean_logp(completion))
            for index, (group, row) in enumerate(zip(groups, advantages, strict=True))
            for completion, advantage in zip(group.completions, row, strict=True)
        ]
        samples.sort(key=lambda sample: len(sample.answer.token_ids))  # little padding in a micro-batch
        return self._policy.encode([group.request for group in groups]), samples

    @torch.no_grad()
    def _old_logps(self, prompts: Prompts, samples: Sequence[_Sample]) -> list[Tensor]:
        """Log-probabilities before the first minibatch's step, one tensor for each micro-batch."""
        return self._frozen_logps(self._policy, prompts, samples)

    def _frozen_logps(self, policy: Policy, prompts: Prompts, samples: Sequence[_Sample]) -> list[Tensor]:
        features = policy.image_features(prompts)
        return [policy.logps(prompts, features, [s.answer for s in micro])[0] for micro in self._micro_batches(samples)]

    def _step(
        self, prompts: Prompts, samples: Sequence[_Sample], old: list[Tensor] | None, rate: float, meter: "_Meter"
    ) -> None:
        """Accumulate the gradient of one minibatch and update.

        The images are encoded once; the gradient with respect to their features gathers over the micro-batches
        and goes through the vision tower at the end.
        """
        reference = self._reference_logps(prompts, samples)
        features = self._policy.image_features(prompts)
        leaf = features.detach().requires_grad_()
        for index, micro in enumerate(self._micro_batches(samples)):
            logps, mask = self._policy.logps(prompts, leaf, [sample.answer for sample in micro])
            before = logps.detach() if old is None else old[index]
            loss = self._loss(logps, before, mask, micro, reference[index] if reference else None, meter)
            (loss / len(samples)).backward()
        if features.requires_grad:
            features.backward(leaf.grad)
        meter.add(grad_norm=[clip_gradients(self._model, self._spec.rl.optimizer.grad_clip)])
        self._optimizer.step(rate)

    @torch.no_grad()
    def _reference_logps(self, prompts: Prompts, samples: Sequence[_Sample]) -> list[Tensor] | None:
        return None if self._reference is None else self._frozen_logps(self._reference, prompts, samples)

    def _loss(
        self,
        logps: Tensor,
        old: Tensor,
        mask: Tensor,
        samples: Sequence[_Sample],
        reference: Tensor | None,
        meter: "_Meter",
    ) -> Tensor:
        """Sum over answers of -min(s A, clip(s) A) + kl * KL(pi || reference)."""
        rl = self._spec.rl
        advantages = logps.new_tensor([sample.advantage for sample in samples])
        result = surrogate(log_ratio(logps, old, mask), advantages, rl.clip_low, rl.clip_high)
        loss = -result.objective.sum()
        engine = old.new_tensor([sample.engine_logp for sample in samples])
        meter.add(
            clip_fraction=result.clipped.float().tolist(),
            ratio_deviation=(result.ratio - 1).abs().tolist(),
            engine_gap=(engine - old.sum(-1) / mask.sum(-1)).tolist(),
            entropy_estimate=(-old.sum(-1) / mask.sum(-1)).tolist(),
        )
        if reference is not None:
            kl = kl_k3(logps, reference, mask)
            meter.add(kl=kl.tolist())
            loss = loss + rl.kl * kl.sum()
        return loss

    def _micro_batches(self, samples: Sequence[_Sample]) -> list[Sequence[_Sample]]:
        size = self._spec.rl.micro_batch_size
        return [samples[i : i + size] for i in range(0, len(samples), size)]


class _Meter:
    """Gathers values of single answers and sums them up for a curve."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)

    def add(self, **values: Sequence[float]) -> None:
        for name, items in values.items():
            self._values[name].extend(items)

    def summary(self) -> Mapping[str, float]:
        """The mean of everything, and the greatest size of what may stray."""
        means = {name: float(np.mean(items)) for name, items in self._values.items()}
        strays = {f"{name}_max": max(map(abs, self._values[name])) for name in ("ratio_deviation", "engine_gap")}
        return means | strays


def _split(size: int, parts: int) -> list[slice]:
    """Nearly equal consecutive slices of a range, none of them empty."""
    bounds = np.linspace(0, size, min(parts, size) + 1).round().astype(int).tolist()
    return [slice(*pair) for pair in pairwise(bounds)]


def _mean_logp(completion: Completion) -> float:
    return float("nan") if completion.logprob is None else completion.logprob / len(completion.token_ids)
