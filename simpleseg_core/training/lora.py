"""Low-rank adapters in the linear layers of a model, and the model with them merged."""

from typing import Any

import peft
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from simpleseg_core.config import LoraConfig, RatesConfig
from simpleseg_core.models.architectures import architecture_of
from simpleseg_core.training.parts import part_of, rate_of

_BELOW = ".base_layer"
"""What an adapter adds to the names of the layer that it lies on."""


def add_adapters(model: Any, config: LoraConfig, rates: RatesConfig) -> None:
    """Lay adapters, float32 and without effect at first, on every linear layer of the parts that learn; freeze the
    rest. The model stays what it is: it can be called, spread over workers, and asked to generate."""
    family, head = architecture_of(model.config.model_type), model.get_output_embeddings()
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and rate_of(part_of(name, family), rates) > 0
    ]
    described = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=layers
    )
    peft.inject_adapter_in_model(described, model)
    for parameter in model.parameters():
        if parameter.requires_grad:  # bfloat16 rounds small steps away
            parameter.data = parameter.data.float()


def merge_adapters(model: nn.Module) -> None:
    """Add what the adapters have learned to the weights below them; nothing happens where there are none."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()


def without_adapters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names that they have without adapters."""
    return {name.replace(_BELOW, ""): value for name, value in state.items() if ".lora_" not in name}
