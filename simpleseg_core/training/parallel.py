"""Spreading a model over workers: DDP, or FSDP2 one transformer block at a time."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from simpleseg_core.config import ModelConfig, TrainConfig
from simpleseg_core.models.architectures import architecture_of
from simpleseg_core.models.loading import DTYPES, load_model
from simpleseg_core.models.shards import Slices, skeleton


@dataclass(frozen=True, slots=True)
class Sharding:
    """How FSDP2 holds a model whose master copy is float32."""

    compute: torch.dtype = torch.float32
    """Type of gathered weights and of what is computed with them."""
    reduce: torch.dtype = torch.float32
    """Type in which gradients are summed up."""
    reshard: bool = True
    """Whether gathered weights are let go behind the forward pass."""

    @classmethod
    def of(cls, train: TrainConfig, model: ModelConfig) -> "Sharding":
        """As the configuration says."""
        return cls(DTYPES[model.dtype], DTYPES[train.reduce_dtype], train.reshard)


def copied(model: nn.Module, train: TrainConfig, world_size: int) -> nn.Module:
    """A model that every worker holds whole (DDP); unchanged for a single worker.

    Needs torch's process group when `world_size` is above one (Ray Train has made it).
    """
    if world_size == 1:
        return model
    copy = DistributedDataParallel(model)
    if train.reduce_dtype == "bfloat16":
        copy.register_comm_hook(None, bf16_compress_hook)
    return copy


def load_sharded(path: str, config: ModelConfig, device: torch.device, sharding: Sharding) -> PreTrainedModel:
    """The model of a folder or hub id in float32, shared between all workers of torch's process group (FSDP2).

    Each reads its own slices, but where a checkpoint's weights are laid out otherwise than the model's (experts): there
    each reads the whole on the CPU and keeps its part.
    """
    master = config.model_copy(update={"dtype": "float32"})
    placed = skeleton(path, master)
    weights = Slices(path, placed)
    if not weights.complete:
        whole = load_model(path, master)
        return shard(whole, blocks(whole), device, sharding)
    shard(placed, blocks(placed), device, sharding)
    weights.fill(placed, device)
    return placed


def shard(
    model: PreTrainedModel, layers: Iterable[nn.Module], device: torch.device, sharding: Sharding
) -> PreTrainedModel:
    """Share the parameters of a model between all workers: each of its layers by itself, then what is left."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    compute = None if sharding.compute is torch.float32 else sharding.compute
    options: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=sharding.reduce),
        "reshard_after_forward": sharding.reshard,
    }
    module = cast(nn.Module, model)
    for layer in layers:
        fully_shard(layer, **options)
    shared = fully_shard(module, **options)
    # An expert that no token of one worker has chosen has no gradient there, and has one elsewhere.
    shared.set_reduce_scatter_unused_params(True)
    return model


def blocks(model: Any) -> list[nn.Module]:
    """Layers of the text decoder and of the vision tower, as the architecture names them; of a list, its members.

    Raises:
        ValueError: no architecture reads the model's type.
    """
    stacks = architecture_of(model.config.model_type).blocks
    return [block for stack in stacks for block in _members(model.get_submodule(stack))]


def _members(module: nn.Module) -> Iterator[nn.Module]:
    """A list has no forward pass of its own, in front of which it could be gathered."""
    if not isinstance(module, nn.ModuleList | nn.ModuleDict):
        yield module
        return
    for child in module.children():
        yield from _members(child)


def accumulating(
    model: nn.Module, sync: Literal["step", "micro_batch"] | None, *, last: bool
) -> AbstractContextManager[Any]:
    """Around forward and backward pass of a micro-batch: whether workers sum up gradients in it.

    Args:
        sync: as in `gradient_sync`.
        last: this is the last micro-batch of the step.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last or sync != "step")
    elif isinstance(model, DistributedDataParallel) and not last and sync != "micro_batch":
        return cast(AbstractContextManager[Any], model.no_sync())
    return nullcontext()


def device_of_worker() -> torch.device:
    """The GPU that Ray Train gave this worker, or the CPU."""
    from ray.train.torch import get_device

    return torch.device(get_device())
