"""Weights on their way from a trainer to an engine: safetensors files, in shared memory where the machine has it."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from simpleseg_core.files import replacing
from simpleseg_core.rollout._protocol import State

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (files in it carry random names)


def transfer_folder() -> Path:
    """Where weights are handed over: memory if possible, else the folder for temporary files."""
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(gettempdir())


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
