"""Compilation of the inner loops: numba, cached beside the source, without the interpreter's lock."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function on its first call; its types stay visible to the checker."""
    return njit(cache=True, nogil=True)(function)
