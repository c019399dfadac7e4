"""The trainer of reinforcement learning: it owns the weights and improves them on batches of scored answers.

It runs in one worker or in several (`Team`), which share the model, and the groups of a minibatch, between them; each
calls the same methods in the same order. Every worker has equally many answers, for the others wait for it in each
forward pass: where groups are too few, it repeats one that weighs nothing.

Shapes: G groups (prompts) of a minibatch, n answers for each, B answers of a micro-batch out of the G n, T tokens of
the longest of them, P image placeholders of all prompts. Rewards are float64 (G, n), log-probabilities float (B, T)
with a bool mask (B, T), features of images (P, values), advantages and what is measured of single answers (B,).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from simpleseg_core.config import ModelConfig, RLConfig
from simpleseg_core.models.loading import DTYPES, checkpoint_state, load_model, load_processor, save_checkpoint
from simpleseg_core.rollout import Packed, forbidden_ids, pack_weights
from simpleseg_core.training.checkpoint import Checkpoints
from simpleseg_core.training.finite import require_finite
from simpleseg_core.training.noise import GradientNoise
from simpleseg_core.training.objectives import (
    Answers,
    importance_weights,
    kl_k3,
    log_ratio,
    objective,
    sequence_mean,
)
from simpleseg_core.training.optimizer import build_optimizer, clip_gradients
from simpleseg_core.training.parallel import Sharding, load_sharded
from simpleseg_core.training.policy import Policy
from simpleseg_core.training.rl_batch import Group, Sample, Team, WorkerBatch, rewards_of, samples_of, split
from simpleseg_core.training.rl_measured import Measured
from simpleseg_core.training.schedule import is_due, learning_rate
from simpleseg_core.training.state import in_type, restore_training, training_state

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


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


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a run goes on."""

    step: int
    """Steps done."""
    cursor: int
    """Prompts drawn in them."""
    notes: Sequence[str]
    """What whoever watches should know about the checkpoints, a line each."""


class Trainer:
    """Weights, optimizer and checkpoints of a GSPO run, or one worker's shard of them."""

    def __init__(self, spec: TrainerSpec, team: Team | None = None) -> None:
        self._spec, self._team = spec, team or Team()
        self._team.join(spec.device)
        self._processor = load_processor(spec.start, spec.model)
        self._model = self._load()
        self._policy = self._policy_of(self._model)
        self._reference = self._policy_of(self._load().requires_grad_(False)) if spec.rl.kl else None
        self._optimizer = build_optimizer(self._model, spec.rl.optimizer)
        self._objective = objective(spec.rl.objective)
        self._noise = GradientNoise(self._model.parameters())
        self._notes: list[str] = []
        self._checkpoints = Checkpoints(spec.work / "checkpoints", spec.fingerprint, say=self._notes.append)

    def update(self, groups: Sequence[Group], step: int) -> Measured:
        """One optimizer step for each minibatch of groups; returns what was measured on this worker's answers."""
        began = time.perf_counter()
        rl, measured = self._spec.rl, Measured()
        rate = learning_rate(step, rl.steps, rl.optimizer)
        mixed = self._measures_noise(step)
        batches = [self._batch(groups, part, mixed=mixed) for part in split(len(groups), rl.minibatches)]
        batches = [batch for batch in batches if batch.answers]
        if not batches:
            return measured  # no answer has a token
        old = [self._old_logps(batch) for batch in batches] if len(batches) > 1 else [None]
        for batch, logps in zip(batches, old, strict=True):
            self._step(batch, logps, step, rate, measured)
        tokens = sum(len(completion.token_ids) for group in groups for completion in group.completions)
        seconds = time.perf_counter() - began
        measured.add(lr=[rate], train_s=[seconds], train_tokens_per_s=[tokens / seconds])
        return measured

    def weights(self, version: int) -> Packed | None:
        """The weights as an engine takes them, in its type; None on every worker but the first."""
        state = self._whole_state()
        return pack_weights(checkpoint_state(self._model, state), version) if self._team.rank == 0 else None

    def save(self, step: int, cursor: int) -> None:
        """Checkpoint after `step` steps, in which `cursor` prompts were drawn; it is written beside the next step."""
        self._checkpoints.save(step, training_state(self._model, self._optimizer), cursor=cursor)

    def resume(self) -> Resumed:
        """Load the newest checkpoint of this run, if there is one."""
        latest = self._checkpoints.latest()
        if not latest:
            return Resumed(0, 0, self._notes)
        step, values = latest
        state = training_state(self._model, self._optimizer)
        self._checkpoints.load(step, state)
        restore_training(self._model, self._optimizer, state)
        return Resumed(step, int(values["cursor"]), self._notes)

    def finish(self, output: Path) -> None:
        """Write the HF checkpoint and forget the state of training."""
        self._model.config.dtype = DTYPES[self._spec.model.dtype]
        state = self._whole_state()
        if self._team.rank == 0:
            save_checkpoint(self._model, self._processor, output, state)
        self._checkpoints.clear()

    def _whole_state(self) -> dict[str, Tensor]:
        """All weights in the type of the model, gathered from all workers; empty on every worker but the first."""
        gathered = cast(dict[str, Tensor], get_model_state_dict(self._model, options=_FULL))
        tied = set(self._model.all_tied_weights_keys)  # gathering makes copies of what is one tensor
        dtype = DTYPES[self._spec.model.dtype]
        return in_type({name: value for name, value in gathered.items() if name not in tied}, dtype)

    def _load(self) -> Any:
        """The starting weights in float32, the master copy whatever the compute type."""
        spec = self._spec
        if self._team.size > 1:
            return load_sharded(spec.start, spec.model, torch.device(spec.device), Sharding()).train()
        model = load_model(spec.start, spec.model.model_copy(update={"dtype": "float32"}))
        return cast(nn.Module, model).to(spec.device).train()

    def _policy_of(self, model: Any) -> Policy:
        forbidden = forbidden_ids(self._spec.start, self._spec.model.trust_remote_code)
        dtype = DTYPES[self._spec.model.dtype]
        autocast = None if dtype is torch.float32 else dtype
        return Policy(
            model, self._processor, forbidden, self._spec.rl.rollout.temperature, autocast, self._spec.rl.images_at_once
        )

    def _measures_noise(self, step: int) -> bool:
        """Only a single worker sees the gradients of its micro-batches whole."""
        return self._team.size == 1 and is_due(step, self._spec.rl.noise_every)

    def _batch(self, groups: Sequence[Group], part: slice, mixed: bool) -> WorkerBatch:
        """This worker's share of a minibatch, with as many answers as any other's.

        Answers of like length are together, or, mixed, those of a group.
        """
        chosen = range(len(groups))[part]
        advantages = self._objective.advantages(rewards_of(groups[part], self._spec.rl)).tolist()
        end = self._processor.tokenizer.eos_token_id
        own = list(chosen[self._team.rank :: self._team.size])
        idle = [chosen[0]] * (-(-len(chosen) // self._team.size) - len(own))
        samples = [
            sample
            for place, (index, weight) in enumerate([*((i, 1.0) for i in own), *((i, 0.0) for i in idle)])
            for sample in samples_of(groups[index], advantages[index - chosen.start], index, place, weight, end)
        ]
        if not mixed:
            samples.sort(key=lambda sample: len(sample.answer.token_ids))  # little padding in a micro-batch
        sizes = [len(completion.token_ids) for i in chosen for completion in groups[i].completions]
        prompts = self._policy.encode([groups[i].request for i in [*own, *idle]])
        return WorkerBatch(prompts, samples, sum(size > 0 for size in sizes), sum(sizes))

    @torch.no_grad()
    def _old_logps(self, batch: WorkerBatch) -> list[Tensor]:
        """Log-probabilities before the first minibatch's step, one tensor for each micro-batch."""
        return self._frozen_logps(self._policy, batch)

    def _frozen_logps(self, policy: Policy, batch: WorkerBatch) -> list[Tensor]:
        features = policy.image_features(batch.prompts).values
        return [
            policy.logps(batch.prompts, features, [s.answer for s in micro])[0]
            for micro in self._micro_batches(batch.samples)
        ]

    def _step(self, batch: WorkerBatch, old: list[Tensor] | None, step: int, rate: float, measured: Measured) -> None:
        """Accumulate the gradient of one minibatch and update.

        The images are encoded once; the gradient with respect to their features gathers over the micro-batches
        and goes through the vision tower at the end.

        Raises:
            FloatingPointError: loss or gradient is not finite; the weights are as they were.
        """
        total = 0.0
        reference = self._reference_logps(batch)
        features = self._policy.image_features(batch.prompts)
        for index, micro in enumerate(self._micro_batches(batch.samples)):
            logps, mask = self._policy.logps(batch.prompts, features.values, [sample.answer for sample in micro])
            before = logps.detach() if old is None else old[index]
            advantages = logps.new_tensor([sample.advantage for sample in micro])
            answers = self._answers(logps, before, mask, advantages, batch.tokens / batch.answers)
            share = self._loss(answers, micro, reference[index] if reference else None, measured) / batch.answers
            (share * self._team.size).backward()  # FSDP takes the mean over workers
            if self._measures_noise(step):
                self._noise.add(len(micro))
            total += float(share.detach())
        measured.add(**{name: [value] for name, value in self._noise.close().items()})
        features.backward()
        norm = clip_gradients(self._model, self._spec.rl.optimizer.grad_clip)
        kept = {**asdict(batch), "old_logps": old}
        require_finite(total, norm, step + 1, kept, self._spec.work, "rl")
        measured.add(grad_norm=[norm])
        self._optimizer.step(rate)

    @torch.no_grad()
    def _reference_logps(self, batch: WorkerBatch) -> list[Tensor] | None:
        return None if self._reference is None else self._frozen_logps(self._reference, batch)

    def _answers(self, logps: Tensor, old: Tensor, mask: Tensor, advantages: Tensor, mean_tokens: float) -> Answers:
        rl, (low, high) = self._spec.rl, self._objective.clip
        return Answers(
            logps, old, mask, advantages,
            clip_low=low if rl.clip_low is None else rl.clip_low,
            clip_high=high if rl.clip_high is None else rl.clip_high,
            max_tokens=rl.rollout.max_tokens, mean_tokens=mean_tokens,
        )  # fmt: skip

    def _loss(
        self, answers: Answers, samples: Sequence[Sample], reference: Tensor | None, measured: Measured
    ) -> Tensor:
        """Sum over answers of -(their objective, weighted for the engine's difference) + kl * KL(pi || reference)."""
        rl, old, mask = self._spec.rl, answers.old_logps, answers.mask
        result, counts = self._objective.surrogate(answers), old.new_tensor([sample.weight for sample in samples])
        engine, own = old.new_tensor([sample.engine_logp for sample in samples]), sequence_mean(old, mask)
        ratio = log_ratio(answers.logps.detach(), old, mask).exp()
        curves = {
            "clip_fraction": result.clipped, "ratio": ratio, "ratio_deviation": (ratio - 1).abs(),
            "engine_gap": engine - own, "entropy_estimate": -own,
        }  # fmt: skip
        objectives = result.objective
        if rl.importance_cap is not None:
            weights = importance_weights(old, engine * mask.sum(-1), mask, rl.importance_cap)
            curves |= {"importance_weight": weights, "importance_cut": (weights == rl.importance_cap).float()}
            objectives = weights * objectives
        loss = -(counts * objectives).sum()
        if reference is not None:
            curves["kl"] = kl_k3(answers.logps, reference, mask)
            loss = loss + rl.kl * (counts * curves["kl"]).sum()
        measured.add_where(counts > 0, answer=[sample.index for sample in samples], **curves)
        return loss

    def _micro_batches(self, samples: Sequence[Sample]) -> list[Sequence[Sample]]:
        size = self._spec.rl.micro_batch_size
        return [samples[i : i + size] for i in range(0, len(samples), size)]
