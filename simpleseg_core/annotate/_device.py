"""Which device an engine runs on, and how precisely."""

import torch


def resolve_device(name: str) -> torch.device:
    """`auto` is the first CUDA device where there is one, else the CPU; anything else is a torch device name."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def precision(device: torch.device, dtype: str) -> torch.autocast:
    """A context in which matrices are multiplied in `dtype`: `bfloat16`, or `float32`, which changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")
