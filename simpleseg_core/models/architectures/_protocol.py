"""What every architecture says about itself: plain values for whoever plans, functions for whoever computes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

    from simpleseg_core.config import ModelConfig


@dataclass(frozen=True, slots=True)
class ChatForm:
    """How a conversation is written in tokens."""

    answer_opening: str
    """Text in front of each answer; it begins with a special token."""
    answer_end: str
    """Token that ends an answer, and is learned with it."""
    template: str = ""
    """Jinja template of models built from scratch; others bring theirs."""
    special_tokens: tuple[str, ...] = ()
    """Of tokenizers built from scratch."""
    padding: str = ""


class ForwardPass(Protocol):
    """A forward pass taken apart for reinforcement: each image goes through the vision tower once for all its answers.

    Shapes: B rows of T tokens; N image placeholders in all; F values that one placeholder stands for.
    """

    @property
    def image_inputs(self) -> tuple[str, ...]:
        """Names of what the processor gives for the images, in the order in which `image_features` takes it."""

    def positions(self, model: Any, encoded: Mapping[str, "Tensor"]) -> "Tensor":
        """Rotary positions of right-padded prompts, (axes, B, T)."""

    def image_features(self, model: Any, *images: "Tensor") -> "Tensor":
        """What the vision tower gives, (N, F)."""

    def image_sizes(self, model: Any, *images: "Tensor") -> list[int]:
        """Placeholders of each image."""

    def hidden(self, model: Any, ids: "Tensor", positions: "Tensor", features: "Tensor") -> "Tensor":
        """Last hidden states (B, T, H) of right-padded rows; `features` (n, F) fill their placeholders in order."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One way to build a multimodal model."""

    name: str
    """As in `model.architecture`."""
    model_types: tuple[str, ...]
    """`model_type` of the checkpoints that are read."""
    chat: ChatForm
    blocks: tuple[str, ...]
    """Stacks of layers, by module path: FSDP shards a model one member of a stack at a time."""
    vision: str
    """The vision tower, by module path."""
    projector: tuple[str, ...]
    """What turns its output into the language model's input, perhaps inside of it; all else is the language model."""
    image_bounds: Callable[[int, int], dict[str, Any]]
    """Least and greatest area of an image in pixels -> options of the processor, here and in vLLM."""
    positions: "Callable[[ProcessorMixin, Mapping[str, Tensor]], Tensor]"
    """Rotary positions of right-padded conversations with an image each, (axes, B, T), from what the processor made of
    them."""
    forward: ForwardPass
    build: "Callable[[ModelConfig, PreTrainedTokenizerFast], tuple[PreTrainedModel, ProcessorMixin]]"
    """A model with random weights."""
    experts: bool = False
    """Whether its language model is a mixture of experts."""
    token_counter: Callable[[str], Callable[[str], int] | None] = lambda base: None
    """`model.base` -> what counts its tokens without a download, where something installed does."""
    register: Callable[[], None] = lambda: None
    """Tells transformers' Auto classes of its model, where that is one of ours."""
