"""Weights on their way from a trainer to an engine: arrays that travel between nodes, or safetensors files."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from simpleseg_core.files import replacing
from simpleseg_core.rollout._protocol import State


@dataclass(frozen=True, slots=True)
class Packed:
    """Weights as plain bytes: pickled without a copy, so that all readers on a node share Ray's own memory."""

    version: int
    """Which weights these are: the steps of training behind them."""
    arrays: dict[str, tuple[NDArray[np.uint8], torch.dtype, torch.Size]]

    def unpack(self) -> State:
        """The weights, read only; they live as long as this does."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return {
                name: torch.from_numpy(array).view(dtype).view(shape)
                for name, (array, dtype, shape) in self.arrays.items()
            }


def pack_weights(state: State, version: int) -> Packed:
    """Weights of a trainer on the CPU; of tensors that share their memory (tied embeddings) only the first."""
    return Packed(
        version,
        {
            name: (tensor.contiguous().view(-1).view(torch.uint8).numpy(), tensor.dtype, tensor.shape)
            for name, tensor in _without_aliases(state)
        },
    )


def write_weights(state: State, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write a state, whole or not at all; of tensors that share their memory (tied embeddings) only the first."""
    with replacing(path) as partial:
        save_file({name: tensor.to(dtype=dtype).contiguous() for name, tensor in _without_aliases(state)}, partial)


def read_weights(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a safetensors file, or of all of them in a folder, one at a time.

    Raises:
        FileNotFoundError: no safetensors there.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{path}: no .safetensors file here; name a checkpoint folder or a weight file")
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                yield name, tensors.get_tensor(name)


def _without_aliases(state: State) -> Iterator[tuple[str, torch.Tensor]]:
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in state.items():
        memory = (tensor.data_ptr(), tensor.shape)
        if memory not in seen:
            seen.add(memory)
            yield name, tensor
