"""Pre-training and SFT: next-token prediction on the answers, as a function that Ray Train runs in each worker."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, ProcessorMixin

from simpleseg_core.config import ModelConfig, TrainConfig
from simpleseg_core.models import DTYPES, build_nano, load_model, load_processor, save_checkpoint
from simpleseg_core.training.checkpoint import Checkpoints
from simpleseg_core.training.collate import IGNORE, Batch, Collator
from simpleseg_core.training.events import EventWriter
from simpleseg_core.training.optimizer import build_optimizer, clip_gradients
from simpleseg_core.training.parallel import wrap
from simpleseg_core.training.samples import Samples, StepBatches
from simpleseg_core.training.schedule import learning_rate

Probe = Callable[[PreTrainedModel, ProcessorMixin, EventWriter, int], None]
"""Draws what the model says at a step: (model, processor, events, step)."""

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass(frozen=True)
class SupervisedRun:
    """One training run; plain values and paths, so that it can be sent to a worker."""

    name: str
    seed: int
    steps: int
    train: TrainConfig
    model: ModelConfig
    start: str
    """Folder or hub id of the model to start from, or `scratch`."""
    samples: Samples
    output: Path
    work: Path
    fingerprint: str
    probe: Probe | None = None


def initial_model(run: SupervisedRun) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The starting weights in float32 (the master copy whatever the compute type) and their processor."""
    if run.start == "scratch":
        return build_nano(run.model, run.seed)
    master = run.model.model_copy(update={"dtype": "float32"})
    return load_model(run.start, master), load_processor(run.start, run.model)


def train(run: SupervisedRun, device: torch.device, rank: int = 0, world_size: int = 1) -> None:
    """Train to `run.steps` from the newest checkpoint of the same run, if there is one, and write the HF checkpoint."""
    torch.manual_seed(run.seed + rank)
    model, processor = initial_model(run)
    if run.train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    worker = _Worker(
        run,
        wrap(cast(torch.nn.Module, model).to(device), run.train.strategy, world_size),
        processor,
        device,
        rank,
        world_size,
    )
    worker.run()


class _Worker:
    """One process of a run."""

    def __init__(
        self,
        run: SupervisedRun,
        model: torch.nn.Module,
        processor: ProcessorMixin,
        device: torch.device,
        rank: int,
        world_size: int,
    ) -> None:
        self._run, self._model, self._processor, self._device = run, model, processor, device
        self._rank, self._world_size = rank, world_size
        self._optimizer = build_optimizer(model, run.train.optimizer)
        self._checkpoints = Checkpoints(run.work / "checkpoints", run.fingerprint) if rank == 0 else None
        self._events = EventWriter(run.work / "events.jsonl")
        self._window: list[torch.Tensor] = []

    def run(self) -> None:
        start = self._resume()
        if self._rank == 0:
            self._events.begin(start, self._run.steps, self._run.name)
        for step, batches in zip(range(start, self._run.steps), self._batches(start), strict=True):
            self._step(step, batches)
            if (step + 1) % self._run.train.checkpoint_every == 0 and step + 1 < self._run.steps:
                self._save_state(step + 1)
        self._save_model()

    def _batches(self, start: int) -> Iterator[Sequence[Batch]]:
        train = self._run.train
        steps = StepBatches(
            self._run.samples,
            Collator(self._processor, train.max_length),
            train.batch_size,
            train.micro_batch_size,
            self._rank,
            self._world_size,
        )
        # torch's DataLoader takes anything with __getitem__; its stubs ask for a Dataset.
        loader: DataLoader[Any] = DataLoader(
            cast(Dataset[Any], steps),
            sampler=range(start, self._run.steps),
            batch_size=None,
            num_workers=train.loader_workers,
        )
        return iter(loader)

    def _step(self, step: int, batches: Sequence[Batch]) -> None:
        began = time.perf_counter()
        self._model.train()
        learned = sum(int((batch.labels != IGNORE).sum()) for batch in batches)
        tokens = float(self._sum(torch.tensor(float(learned))))
        losses = self._sum(torch.stack([self._backward(batch, tokens) for batch in batches]).sum(0))
        norm = clip_gradients(self._model, self._run.train.optimizer.grad_clip)
        rate = learning_rate(step, self._run.steps, self._run.train.optimizer)
        self._optimizer.step(rate)
        if self._rank == 0:
            rest = {"grad_norm": norm, "lr": rate, "answer_tokens_per_s": tokens / (time.perf_counter() - began)}
            self._report(step + 1, losses.cpu(), rest)
        if self._run.probe and (step + 1) % self._run.train.probe_every == 0 and self._has_whole_model():
            self._run.probe(self._plain_model(), self._processor, self._events, step + 1)

    def _backward(self, batch: Batch, tokens: float) -> torch.Tensor:
        """Accumulate gradients; returns (mean loss over the step's tokens, sum over first coordinates, their count)."""
        inputs = {name: value.to(self._device) for name, value in batch.inputs.items()}
        labels, first = batch.labels[:, 1:].to(self._device), batch.first_coordinate[:, 1:].to(self._device)
        keep = labels != IGNORE
        with self._autocast():
            logits = self._model(**inputs).logits[:, :-1][keep]
        losses = cross_entropy(logits.float(), labels[keep], reduction="none")
        loss = losses.sum() / tokens
        (loss * self._world_size).backward()
        return torch.stack([loss.detach(), losses.detach()[first[keep]].sum(), first.sum()])

    def _report(self, step: int, losses: torch.Tensor, rest: dict[str, float]) -> None:
        """Announce the step; every `log_every` steps with the losses averaged since the last time."""
        self._window.append(losses)
        if step % self._run.train.log_every and step != 1:
            self._events.step(step, {})
            return
        loss, first, count = torch.stack(self._window).sum(0).tolist()
        by_coordinate = {"loss_first_coordinate": first / count} if count else {}
        self._events.step(step, {"loss": loss / len(self._window), **by_coordinate, **rest})
        self._window.clear()

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = DTYPES[self._run.model.dtype]
        return nullcontext() if dtype is torch.float32 else torch.autocast(self._device.type, dtype)

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over all workers."""
        if self._world_size > 1:
            values = values.to(self._device)
            dist.all_reduce(values)
        return values

    def _has_whole_model(self) -> bool:
        """Whether this worker can generate on its own, while the others wait for it in the next step."""
        return self._rank == 0 and (self._world_size == 1 or self._run.train.strategy == "ddp")

    def _plain_model(self) -> PreTrainedModel:
        return cast(PreTrainedModel, getattr(self._model, "module", self._model))

    def _save_state(self, step: int) -> None:
        """Gather the state from every worker; the first one writes it."""
        optimizers = self._optimizer.parts
        state = {
            "model": get_model_state_dict(self._model, options=_FULL),
            "optimizer": get_optimizer_state_dict(self._model, optimizers, options=_FULL),
        }
        if self._checkpoints:
            self._checkpoints.save(step, state)

    def _resume(self) -> int:
        """Load the newest state on the first worker, hand it to the others, and return the number of steps done."""
        latest = self._checkpoints.latest() if self._checkpoints else None
        done = int(self._sum(torch.tensor(latest[0] if latest else 0)))
        if not done:
            return 0
        state = latest[1] if latest else {"model": {}, "optimizer": {}}
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=self._world_size > 1)
        set_model_state_dict(self._model, state["model"], options=options)
        set_optimizer_state_dict(self._model, self._optimizer.parts, state["optimizer"], options=options)
        return done

    def _save_model(self) -> None:
        dtype = DTYPES[self._run.model.dtype]
        gathered = cast(dict[str, torch.Tensor], get_model_state_dict(self._model, options=_FULL))
        state = {name: value.to(dtype) for name, value in gathered.items()}
        if self._checkpoints:
            plain = self._plain_model()
            plain.config.dtype = dtype
            for tied in plain.all_tied_weights_keys:  # gathering shards makes copies of what was one tensor
                state.pop(tied, None)
            save_checkpoint(plain, self._processor, self._run.output, state)
            self._checkpoints.clear()
