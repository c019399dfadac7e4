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
_LEARNED = StateDictOptions(ignore_frozen_params=True, flatten_optimizer_state_dict=True, strict=False)
_COPIED = "module."
"""In front of the names of a model that workers have copies of."""
_MODEL, _OPTIMIZER = "model.", "optimizer."


def learned(model: nn.Module) -> dict[str, Tensor]:
    """This worker's part of the weights that learn, each once, by name: the tensors themselves. All call it."""
    once = {name for name, _ in model.named_parameters()}
    twice = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    others = {name.removeprefix(_COPIED) for name in twice}
    state = get_model_state_dict(model, options=_LEARNED)
    return _prefixed(_MODEL, {name: value for name, value in state.items() if name not in others})


def training_state(model: nn.Module, optimizer: Optimizers) -> dict[str, Tensor]:
    """This worker's part of what a run needs to go on: what learns, and the optimizer's averages. All call it."""
    return learned(model) | _prefixed(_OPTIMIZER, _tensors(_averages(model, optimizer)))


def restore_learned(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take back what `learned` gave, from wherever it has been. All call it."""
    set_model_state_dict(model, _without(_MODEL, state), options=_LEARNED)


def restore_training(model: nn.Module, optimizer: Optimizers, state: Mapping[str, Tensor]) -> None:
    """Take back what `training_state` gave; rates and the like stay those of the configuration. All call it."""
    restore_learned(model, state)
    averages = _averages(model, optimizer) | _without(_OPTIMIZER, state)
    set_optimizer_state_dict(model, optimizer.parts, averages, options=_LEARNED)


def _averages(model: nn.Module, optimizer: Optimizers) -> dict[str, Any]:
    return dict(get_optimizer_state_dict(model, optimizer.parts, options=_LEARNED))


def _tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}


def _without(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


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
