"""Pre-training and SFT: next-token prediction on the answers, as a function that Ray Train runs in each worker.

Shapes: B conversations of a micro-batch, T tokens of the longest, L learned tokens among them. Labels and all
inputs but the pixels are (B, T); the label at t is predicted at t - 1, so both lose an end.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, astuple
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, ProcessorMixin

from simpleseg_core.journal import Journal
from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.loading import DTYPES, save_checkpoint
from simpleseg_core.training.balance import Balance
from simpleseg_core.training.best import Best
from simpleseg_core.training.checkpoint import Checkpoints
from simpleseg_core.training.collate import IGNORE, Batch, Collator
from simpleseg_core.training.failures import stop_file
from simpleseg_core.training.finite import require_finite
from simpleseg_core.training.heartbeat import Beat
from simpleseg_core.training.held_out import Share, held_out_giou, held_out_loss
from simpleseg_core.training.loss import answer_losses
from simpleseg_core.training.noise import GradientNoise
from simpleseg_core.training.optimizer import build_optimizer, clip_gradients
from simpleseg_core.training.parallel import accumulating
from simpleseg_core.training.parts import part_of, rate_of
from simpleseg_core.training.placed import is_sharded, placed
from simpleseg_core.training.run import HeldOut, SupervisedRun
from simpleseg_core.training.samples import StepBatches, loaders
from simpleseg_core.training.schedule import is_due, learning_rate
from simpleseg_core.training.state import (
    gather_weights,
    learned,
    restore_learned,
    restore_training,
    training_state,
)
from simpleseg_core.training.throughput import Sizes, Throughput, Work


def train(
    run: SupervisedRun,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
    beat: Beat = lambda step, doing: None,
) -> None:
    """Train to `run.steps` from the newest checkpoint of the same run, if there is one, and write the HF checkpoint.

    Args:
        beat: told what comes next, with the step.
    """
    torch.manual_seed(run.seed + rank)
    worker = _Worker(run, *placed(run, device, world_size), device, rank, world_size, beat)
    with closing(worker):
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
        beat: Beat,
    ) -> None:
        self._beat = beat
        self._run, self._model, self._processor, self._device = run, model, processor, device
        self._rank, self._world_size = rank, world_size
        self._optimizer = build_optimizer(model, run.train.optimizer, self._rate)
        self._events = run.journal or Journal(run.work)
        folder = run.work / "checkpoints"
        self._checkpoints = Checkpoints(folder, run.fingerprint, say=self._events.note)
        held = run.train.held_out
        chooses = held is not None and held.choose != "last"
        self._best = Best(held, run.work / "best", run.fingerprint, self._events.note) if held and chooses else None
        self._noise = GradientNoise(model.parameters())
        self._balance = Balance(model, run.train.router)
        dtype = DTYPES[run.model.dtype]
        self._throughput = Throughput(Sizes.of(self._plain_model()), device, dtype, world_size)
        self._measured: dict[str, float] = {}
        self._window: list[torch.Tensor] = []

    def run(self) -> None:
        start = self._resume()
        if self._rank == 0:
            self._events.begin(start, self._run.steps, self._run.name)
        arriving = self._throughput.waiting(self._batches(start))
        for step, batches in zip(range(start, self._run.steps), arriving, strict=True):
            self._beat(step + 1, "learning")
            stopped = self._step(step, batches)
            is_last = step + 1 == self._run.steps
            if not is_last and (stopped or is_due(step, self._run.train.checkpoint_every)):
                self._beat(step + 1, "saving the state")
                self._save_state(step + 1)
            if self._evaluate(step + 1):
                break
            if stopped and not is_last:
                return
            self._beat(step + 2, "waiting for its batches")
        self._beat(self._run.steps, "saving the model")
        self._save_model()

    def close(self) -> None:
        """Let what is being written be finished."""
        self._checkpoints.wait()

    def _batches(self, start: int) -> Iterator[Sequence[Batch]]:
        train = self._run.train
        steps = StepBatches(
            self._run.samples,
            Collator(self._processor, train.max_length, architecture(self._run.model.architecture), train.packing),
            train.batch_size,
            train.micro_batch_size,
            self._rank,
            self._world_size,
            packed=train.packing > 0,
            mixed_every=train.noise_every,
        )
        # torch's DataLoader takes anything with __getitem__; its stubs ask for a Dataset.
        loader: DataLoader[Any] = DataLoader(
            cast(Dataset[Any], steps),
            sampler=range(start, self._run.steps),
            batch_size=None,
            num_workers=loaders(train, self._world_size),
        )
        return iter(loader)

    def _step(self, step: int, batches: Sequence[Batch]) -> bool:
        """Learn from the batches; returns whether the run is asked to end."""
        self._model.train()
        torch.manual_seed(self._run.seed + step * self._world_size + self._rank)  # of dropout, resumed or not
        own = Work.of(batches, self._run.train.batch_size / self._world_size)
        asked = float(self._rank == 0 and stop_file(self._run.work).exists())
        *done, stopped = self._sum(torch.tensor([*astuple(own), asked], dtype=torch.float64)).tolist()
        work = Work(*done)
        measured = is_due(step, self._run.train.noise_every)
        losses = self._sum(torch.stack(list(self._gradients(batches, work, measured))).sum(0))
        self._measured = self._noise.close() if measured else self._measured
        norm = clip_gradients(self._model, self._run.train.optimizer.grad_clip)
        kept = [asdict(batch) for batch in batches]
        folder = self._run.work / f"worker-{self._rank}" if self._world_size > 1 else self._run.work
        require_finite(float(losses[0]), norm, step + 1, kept, folder, self._run.name)
        rate = learning_rate(step, self._run.steps, self._run.train.optimizer)
        self._optimizer.step(rate)
        balance = self._balance.step()
        if self._rank == 0:
            self._throughput.done(work)
            self._report(step + 1, losses.cpu(), {"grad_norm": norm, "lr": rate, **self._measured, **balance})
        if self._run.probe and (step + 1) % self._run.train.probe_every == 0 and self._has_whole_model():
            self._run.probe(self._plain_model(), self._processor, self._events, step + 1)
        return bool(stopped)

    def _gradients(self, batches: Sequence[Batch], work: Work, measured: bool) -> Iterator[torch.Tensor]:
        """Accumulate the gradients of a step; a micro-batch whose own gradient is measured has it summed up."""
        for batch in batches:
            last = measured or batch is batches[-1]
            with accumulating(self._model, self._run.train.gradient_sync, last=last):
                yield self._backward(batch, work, measured)

    def _backward(self, batch: Batch, work: Work, measured: bool) -> torch.Tensor:
        """Accumulate the gradients of one batch of a step's work; returns (mean loss over the step's tokens, sum over
        first coordinates, their count)."""
        inputs = {name: value.to(self._device) for name, value in batch.inputs.items()}
        labels, first = batch.labels[:, 1:].to(self._device), batch.first_coordinate[:, 1:].to(self._device)
        keep = labels != IGNORE
        with self._autocast(), self._balance.watching():
            losses = answer_losses(
                self._model, self._plain_model(), inputs, keep, labels[keep], self._run.train.loss_chunk
            )
        loss = losses.sum() / max(work.answer_tokens, 1.0)
        ((loss + self._balance.loss(_mask(inputs), work.tokens)) * self._world_size).backward()
        if measured:
            self._noise.add(len(batch.labels) * self._world_size)
        return torch.stack([loss.detach(), losses.detach()[first[keep]].sum(), first.sum()])

    def _report(self, step: int, losses: torch.Tensor, rest: dict[str, float]) -> None:
        """Announce the step; every `log_every` steps with the losses averaged since the last time."""
        self._window.append(losses)
        if step % self._run.train.log_every and step != 1:
            self._events.metrics({}, step)
            return
        loss, first, count = torch.stack(self._window).sum(0).tolist()
        by_coordinate = {"loss_first_coordinate": first / count} if count else {}
        speed = self._throughput.close()
        self._events.metrics({"loss": loss / len(self._window), **by_coordinate, **rest, **speed}, step)
        self._window.clear()

    def _autocast(self) -> AbstractContextManager[Any]:
        """Compute in the configured type; a sharded model has its weights gathered in that type."""
        dtype = DTYPES[self._run.model.dtype]
        if dtype is torch.float32 or is_sharded(self._run, self._world_size):
            return nullcontext()
        return torch.autocast(self._device.type, dtype)

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over all workers."""
        if self._world_size > 1:
            values = values.to(self._device)
            dist.all_reduce(values)
        return values

    def _evaluate(self, step: int) -> bool:
        """Measure what is held out, where that is due, and keep the best state; returns whether the run may end."""
        config, held = self._run.train.held_out, self._run.held_out
        if not (config and held and (is_due(step - 1, config.every) or step == self._run.steps)):
            return False
        self._beat(step, "measuring what is held out")
        self._model.eval()
        with self._autocast():
            measured = self._measure(held)
        if self._rank == 0:
            self._events.metrics(measured, step)
        if not self._best:
            return False
        if self._best.is_new(step, measured):
            self._best.save(learned(self._model))
        return self._best.is_final(step)

    def _measure(self, held: HeldOut) -> dict[str, float]:
        train, plain = self._run.train, self._plain_model()
        share = Share(self._rank, self._world_size, is_sharded(self._run, self._world_size))
        collate = Collator(self._processor, train.max_length, architecture(self._run.model.architecture))
        measured = dict[str, float]()
        if held.conversations:
            measured["held_out_loss"] = held_out_loss(
                self._run.samples,
                held.conversations,
                self._model,
                plain,
                collate,
                train.micro_batch_size,
                train.loss_chunk,
                share,
            )
        if held.queries:
            measured["held_out_giou"] = held_out_giou(held, plain, self._processor, share)
        return measured

    def _has_whole_model(self) -> bool:
        """Whether this worker can generate on its own, while the others wait for it in the next step."""
        return self._rank == 0 and (self._world_size == 1 or self._run.train.strategy == "ddp")

    def _plain_model(self) -> PreTrainedModel:
        return cast(PreTrainedModel, getattr(self._model, "module", self._model))

    def _rate(self, name: str) -> float:
        family = architecture(self._run.model.architecture)
        return rate_of(part_of(name, family), self._run.train.rates)

    def _save_state(self, step: int) -> None:
        """Begin to write the state; the run goes on meanwhile."""
        self._checkpoints.save(step, training_state(self._model, self._optimizer))

    def _resume(self) -> int:
        """Load the newest state, if there is one, and return the number of steps done."""
        step, _ = self._checkpoints.latest() or (0, {})
        if step:
            state = training_state(self._model, self._optimizer)
            self._checkpoints.load(step, state)
            restore_training(self._model, self._optimizer, state)
        if self._best:
            self._best.find()
        return step

    def _save_model(self) -> None:
        if self._best and self._best.step:
            state = learned(self._model)
            self._best.load(state)
            restore_learned(self._model, state)
        plain, dtype = self._plain_model(), DTYPES[self._run.model.dtype]
        state = gather_weights(self._model, plain, dtype)
        if self._rank == 0:
            plain.config.dtype = dtype
            save_checkpoint(plain, self._processor, self._run.output, state)
            stop_file(self._run.work).unlink(missing_ok=True)  # too late
        self._checkpoints.clear()
        if self._best:
            self._best.clear()


def _mask(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Where there is a token, (B, T); packed rows have hardly any padding."""
    return inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
