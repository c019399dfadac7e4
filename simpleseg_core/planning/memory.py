"""Memory of one GPU in a training step, found by running the step's own code on fake tensors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed._tools.mem_tracker import MemTracker
from torch.optim import AdamW
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from simpleseg_core.config import ModelConfig, TrainConfig
from simpleseg_core.models.attention import attend_by_length
from simpleseg_core.models.loading import DTYPES
from simpleseg_core.planning._fake import fake_tensors
from simpleseg_core.training.lora import add_adapters
from simpleseg_core.training.loss import answer_losses
from simpleseg_core.training.optimizer import build_optimizer
from simpleseg_core.training.parallel import Sharding, blocks, shard
from simpleseg_core.training.parts import freeze
from simpleseg_core.training.throughput import Sizes

_STATES = {"Sharded Param", "Parameter"}, {"Sharded Grad", "Gradient"}


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes on one of the workers."""

    flops: Sizes
    """Of the whole model, for each thing that goes through it."""
    weights: int
    gradients: int
    optimizer: int
    peak: int
    """Weights, gradients and states of the optimizer with all that a forward and backward pass holds at its worst."""

    @property
    def working(self) -> int:
        """What the peak holds besides weights, gradients and optimizer."""
        return self.peak - self.weights - self.gradients - self.optimizer


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Sizes of a micro-batch: rows of tokens with an image each, that of the greatest area."""

    rows: int
    tokens: int
    """Of a row, image included."""
    side: int
    """Patches along each side of an image."""
    patch_values: int
    """Numbers that the processor makes of a patch."""
    image_token: int
    image_tokens: int

    @classmethod
    def largest(cls, shape: Any, model: ModelConfig, rows: int, tokens: int) -> "MicroBatch":
        """With the largest images that the processor lets through.

        Args:
            shape: configuration of a model whose vision tower merges patches of one or more frames.

        Raises:
            ValueError: an image takes all the tokens of a row, or the model is of another family.
        """
        vision = shape.vision_config
        if not hasattr(vision, "spatial_merge_size") or not hasattr(vision, "temporal_patch_size"):
            raise ValueError(f"model.base: the memory of a model of type {shape.model_type} cannot be planned")
        merged = vision.patch_size * vision.spatial_merge_size
        side = max(int(model.max_pixels**0.5) // merged, 1) * vision.spatial_merge_size
        image_tokens = (side // vision.spatial_merge_size) ** 2
        if image_tokens + 2 > tokens:
            raise ValueError(
                f"model.max_pixels {model.max_pixels}: an image takes {image_tokens} tokens of the {tokens} in a "
                "row: lower it, or raise max_length"
            )
        values = vision.patch_size**2 * getattr(vision, "in_channels", 3) * vision.temporal_patch_size
        return cls(rows, tokens, side, values, shape.image_token_id, image_tokens)

    @property
    def learned(self) -> int:
        """Tokens of a row that may be learned: all but the image's."""
        return self.tokens - self.image_tokens


def step_memory(
    shape: PreTrainedConfig, model: ModelConfig, train: TrainConfig, batch: MicroBatch, workers: int
) -> StepMemory:
    """What a step of training takes on each of `workers` GPUs.

    Args:
        shape: the model's own configuration.
        batch: the largest micro-batch.
    """
    with _process_group(workers), fake_tensors():
        placed = _model(shape, model, DTYPES[model.dtype] if train.lora else torch.float32)
        freeze(placed, train.rates)
        if train.lora:
            add_adapters(placed, train.lora, train.rates)
        if train.gradient_checkpointing:
            placed.gradient_checkpointing_enable()
        cast(nn.Module, placed).train()
        flops = Sizes.of(placed)
        sharded = workers > 1 and train.strategy == "fsdp2"
        if sharded:
            shard(placed, blocks(placed), torch.device("cpu"), Sharding.of(train, model))
        peak, weights, gradients = _tracked(placed, model, train, batch, sharded)
        # The optimizer's states are there from its first step on, beside all that a pass holds.
        states = _optimizer_bytes(cast(nn.Module, placed), train)
    return StepMemory(flops, weights, gradients, states, peak + states)


def _model(shape: PreTrainedConfig, model: ModelConfig, dtype: torch.dtype) -> PreTrainedModel:
    made: PreTrainedModel = AutoModelForImageTextToText.from_config(
        shape, dtype=dtype, attn_implementation=model.attention
    )
    attend_by_length(made)
    return made


def _tracked(
    placed: PreTrainedModel, model: ModelConfig, train: TrainConfig, batch: MicroBatch, sharded: bool
) -> tuple[int, int, int]:
    """Peak, weights and gradients in bytes of a forward and a backward pass."""
    module = cast(nn.Module, placed)
    inputs, keep, targets = inputs_of(batch)
    tracker = FSDPMemTracker(module) if sharded else MemTracker()
    _pass_over_frozen(tracker, module)
    tracker.track_external(*([] if sharded else [module]), *inputs.values())
    with tracker, _autocast(model, sharded):
        losses = answer_losses(module, placed, inputs, keep, targets, train.loss_chunk)
        losses.sum().backward()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    now = tracker.get_tracker_snapshot("current")[torch.device("cpu")]
    return peak["Total"], _named(now, _STATES[0]), _named(now, _STATES[1])


def _pass_over_frozen(tracker: MemTracker, module: nn.Module) -> None:
    """torch's tracker waits for a gradient of every parameter; those that will have none count as seen to."""
    nothing = torch.zeros((), requires_grad=True).register_hook(lambda gradient: None)
    for parameter in module.parameters():
        if not parameter.requires_grad:
            tracker._param_to_grad_hook_handles[parameter] = (nothing, nothing)


def _named(snapshot: Mapping[Any, int], names: set[str]) -> int:
    return sum(size for kind, size in snapshot.items() if getattr(kind, "value", kind) in names)


def _autocast(model: ModelConfig, sharded: bool) -> Any:
    dtype = DTYPES[model.dtype]
    return torch.autocast("cpu", dtype, enabled=dtype is not torch.float32 and not sharded)


def inputs_of(batch: MicroBatch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """What the collator makes: (inputs, where a learned token is predicted (B, T - 1), these tokens (L,))."""
    whole, rows = partial(torch.full, dtype=torch.long), batch.rows
    image, text = whole((rows, batch.image_tokens), batch.image_token), whole((rows, batch.learned), 0)
    inputs = {
        "input_ids": torch.cat([image, text], 1),
        "attention_mask": whole((rows, batch.tokens), 1),
        "position_ids": whole((3, rows, batch.tokens), 1),
        "pixel_values": torch.empty(rows * batch.side**2, batch.patch_values),
        "image_grid_thw": torch.tensor([[1, batch.side, batch.side]] * rows),
    }
    keep = inputs["input_ids"][:, 1:] != batch.image_token
    return inputs, keep, whole((rows * batch.learned,), 0)


def _optimizer_bytes(model: nn.Module, train: TrainConfig) -> int:
    """Of one worker: two numbers a parameter for AdamW, one for Muon of any kind, as wide as the parameter."""
    return sum(
        (2 if isinstance(part, AdamW) else 1) * _bytes(parameter)
        for part in build_optimizer(model, train.optimizer).parts
        for group in part.param_groups
        for parameter in group["params"]
    )


def _bytes(parameter: Any) -> int:
    local: Tensor = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local.numel() * local.element_size()


@contextmanager
def _process_group(workers: int) -> Iterator[None]:
    """As if so many workers were there; collectives do nothing."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=workers)
    try:
        yield
    finally:
        dist.destroy_process_group()
