"""The one thing that we use of numba, which has no types: a compiled function keeps its signature."""

from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])

def njit(*, cache: bool = ..., nogil: bool = ...) -> Callable[[_Function], _Function]: ...
