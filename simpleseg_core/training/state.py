"""The state of a training, gathered from all workers and handed out again."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from transformers import PreTrainedModel

from simpleseg_core.training.balance import BIAS
from simpleseg_core.training.lora import merge_adapters, without_adapters
from simpleseg_core.training.optimizer import Optimizers

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_LEARNED = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)


def gather_state(model: nn.Module, optimizer: Optimizers) -> dict[str, Any]:
    """What a run needs to go on, on the first worker: what learns, and the optimizer's averages. All call it."""
    averages = get_optimizer_state_dict(model, optimizer.parts, options=_LEARNED)
    return {"model": gather_learned(model), "optimizer": averages}


def gather_learned(model: nn.Module) -> dict[str, Any]:
    """The weights that learn, on the first worker. All call it."""
    return get_model_state_dict(model, options=_LEARNED)


def spread_state(state: dict[str, Any] | None, model: nn.Module, optimizer: Optimizers, world_size: int) -> None:
    """Give every worker its part of what `gather_state` gave; all but the first have None."""
    spread_learned(state["model"] if state else None, model, world_size)
    averages = state["optimizer"] if state else {}
    set_optimizer_state_dict(model, optimizer.parts, averages, options=_parted(world_size))


def spread_learned(state: dict[str, Any] | None, model: nn.Module, world_size: int) -> None:
    """Give every worker its part of what `gather_learned` gave; all but the first have None."""
    set_model_state_dict(model, state or {}, options=_parted(world_size))


def _parted(world_size: int) -> StateDictOptions:
    return StateDictOptions(
        full_state_dict=True, broadcast_from_rank0=world_size > 1, ignore_frozen_params=True, strict=False
    )


def gather_weights(model: nn.Module, plain: PreTrainedModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """All weights of a model at its end, adapters merged, on the first worker. All call it.

    Args:
        model: as the workers hold it.
        plain: the model itself.
    """
    merge_adapters(cast(nn.Module, plain))
    gathered = cast(dict[str, Tensor], get_model_state_dict(model, options=_WHOLE))
    tied = set(plain.all_tied_weights_keys)  # gathering shards makes copies of what was one tensor
    return without_adapters(in_type({name: value for name, value in gathered.items() if name not in tied}, dtype))


def in_type(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights as they are written and sent; biases of experts stay float32, for their steps are a thousandth."""
    return {name: value if BIAS in name else value.to(dtype) for name, value in weights.items()}
