"""What every generation engine takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from PIL import Image

State = Mapping[str, torch.Tensor]
"""Weights by their Hugging Face names."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question about one image."""

    image: Image.Image
    question: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answers of one call are drawn."""

    max_tokens: int
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    n: int = 1
    """Answers for each request."""
    seed: int | None = None
    """Fixes the whole call: the same requests in the same order give the same answers."""
    regex: str | None = None
    """Pattern that every answer must match: constrained decoding."""
    logprobs: bool = False
    """Whether `Completion.logprob` is wanted; it costs a few percent."""

    def __post_init__(self) -> None:
        if self.n > 1 and self.temperature == 0:
            raise ValueError(
                f"sampling: n is {self.n} but temperature is 0, so all answers would be equal: raise the temperature"
            )


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer."""

    text: str
    token_ids: tuple[int, ...]
    """With the stop token, if the answer ended by itself."""
    finished: bool
    """Whether it ended by itself rather than at `max_tokens`."""
    logprob: float | None
    """Sum of the tokens' log-probabilities under the distribution they were drawn from (with temperature and forbidden
    tokens); null unless asked for."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine uses the machine."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    max_length: int = 1024
    """Tokens of prompt and answer together."""
    max_num_seqs: int = 64
    """Answers generated at once."""
    kv_cache_mib: int = 128
    """Key-value cache on the CPU."""
    gpu_memory_utilization: float = 0.9
    """Share of the GPU that vLLM takes."""
    tensor_parallel: int = 1
    image_bounds: Mapping[str, Any] = field(default_factory=dict)
    """Bounds on the area of resized images, as options of the model's processor; empty: its own."""
    trust_remote_code: bool = False


class Rollout(Protocol):
    """Anything that answers questions about images."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`sampling.n` answers for each request, in the order of the requests."""

    def load_weights(self, source: Path | State) -> None:
        """Replace the weights by those of a safetensors file, a folder of them, or a state; forget what is cached."""

    def close(self) -> None:
        """Give the memory back; the engine cannot be used any more."""
