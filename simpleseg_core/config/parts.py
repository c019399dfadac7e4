"""Which parts of a model a supervised stage trains, and how."""

from pydantic import Field

from simpleseg_core.config._base import Section


class RatesConfig(Section):
    """Factors of the learning rate, part by part; a part with 0 is frozen."""

    vision: float = Field(1.0, ge=0, le=100)
    """The vision tower."""
    projector: float = Field(1.0, ge=0, le=100)
    """What turns the tower's output into the language model's input."""
    language: float = Field(1.0, ge=0, le=100)
    """The language model, its embeddings and its head."""


class RouterConfig(Section):
    """How the experts of a mixture are kept equally busy; the router is trained as all else, its bias is frozen unless
    told otherwise."""

    bias_rate: float = Field(0.0, ge=0, le=1)
    """By how much, after each step, the bias of an expert with less than its share of the tokens rises, and of one with
    more falls (DeepSeek-V3: 0.001); 0: frozen."""
    balance_loss: float = Field(0.0, ge=0, le=1)
    """Weight of the auxiliary loss of unequal experts in each conversation (DeepSeek-V3: 0.0001); 0: none."""


class LoraConfig(Section):
    """Low-rank adapters (arXiv 2106.09685) on every linear layer of the parts that are not frozen; nothing else learns,
    and the weights below them stay in `model.dtype`. What is written at the end has them merged."""

    rank: int = Field(16, gt=0, le=4096)
    alpha: int = Field(32, gt=0, le=10**6)
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
