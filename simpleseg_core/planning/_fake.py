"""A training step without its memory: floating-point tensors are shapes only, whole numbers are what they are.

torch's fake tensors stop where a shape depends on values, as positions and windows of images do. All such values are
whole numbers made from small ones, so they are computed, and only what is large stays a shape.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WHOLE = {torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64}
_RANGES = {torch.ops.aten.arange.default, torch.ops.aten.arange.start, torch.ops.aten.arange.start_step}


class _WholeNumbers(TorchDispatchMode):
    """Makes tensors of whole numbers real where they come from nothing; fake tensors carry them on from there."""

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._mode = mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._makes_whole_numbers(func, args, kwargs):
            return func(*args, **kwargs)
        with no_dispatch():
            made = func(*args, **kwargs)
        if made.dtype not in _WHOLE:
            return func(*args, **kwargs)
        return self._mode.fake_tensor_converter.from_real_tensor(self._mode, made, make_constant=True)

    def _makes_whole_numbers(self, func: Any, args: Any, kwargs: Any) -> bool:
        if any(isinstance(each, torch.Tensor) for each in tree_leaves((args, kwargs))):
            return False
        dtype = kwargs.get("dtype")
        return dtype in _WHOLE or (dtype is None and func in _RANGES)


@contextmanager
def fake_tensors() -> Iterator[None]:
    """In the block, every new tensor is a shape, but those of whole numbers."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    # Checks of transformers compare real numbers with shapes, which are equal by construction. Layers are made where
    # they belong, and torch cannot swap the parameters of one for moved ones that are shapes.
    with (
        patch.object(nn.Module, "to", lambda module, *given, **options: module),
        patch.object(fake_tensor, "CONSTANT_NUMEL_LIMIT", 1 << 40),
        patch.dict("os.environ", TRANSFORMERS_DISABLE_TORCH_CHECK="1"),
        mode,
        _WholeNumbers(mode),
    ):
        yield
