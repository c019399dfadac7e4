"""Spreading a model over workers: DDP, or FSDP2 one transformer block at a time."""

from typing import Literal

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel


def wrap(model: nn.Module, strategy: Literal["ddp", "fsdp2"], world_size: int) -> nn.Module:
    """The model as its workers share it; unchanged for a single worker.

    Needs torch's process group when `world_size` is above one (Ray Train has made it).
    """
    if world_size == 1:
        return model
    if strategy == "ddp":
        return DistributedDataParallel(model)
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (world_size,))
    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Members of every stack of layers: text decoder and vision tower, whatever they are called."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
    return [
        block for stack in stacks for block in stack if any(isinstance(child, nn.Linear) for child in block.modules())
    ]


def device_of_worker() -> torch.device:
    """The GPU that Ray Train gave this worker, or the CPU."""
    from ray.train.torch import get_device

    return torch.device(get_device())
