"""The parts of a multimodal model, by the names of its parameters; which of them learn, and how fast."""

from collections.abc import Iterator
from typing import Any, Literal

from torch import nn

from simpleseg_core.config import RatesConfig
from simpleseg_core.models.architectures import Architecture, architecture_of

ModelPart = Literal["vision", "projector", "language"]


def parameters_by_part(model: Any) -> Iterator[tuple[ModelPart, str, nn.Parameter]]:
    """Each parameter once, with its part and its name.

    Raises:
        ValueError: no architecture reads the model's type.
    """
    family = architecture_of(model.config.model_type)
    for name, parameter in model.named_parameters():
        yield part_of(name, family), name, parameter


def freeze(model: Any, rates: RatesConfig) -> None:
    """Let the parts learn that have a rate."""
    for part, _, parameter in parameters_by_part(model):
        parameter.requires_grad_(rate_of(part, rates) > 0)


def rate_of(part: ModelPart, rates: RatesConfig) -> float:
    """The factor of a part's learning rate."""
    return {"vision": rates.vision, "projector": rates.projector, "language": rates.language}[part]


def part_of(name: str, family: Architecture) -> ModelPart:
    """The part that a parameter belongs to, or a module; names may have something in front."""
    name = f"{name}."
    if any(f"{path}." in name for path in family.projector):
        return "projector"
    return "vision" if f"{family.vision}." in name else "language"
