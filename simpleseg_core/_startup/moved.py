"""Modules under the names that they had in 0.1: scripts of then go on, with a warning that says the name of now.

To be deleted with the next minor version.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_CORE = "simpleseg_core"
MOVED = {
    f"{_CORE}.annotate.given": f"{_CORE}.annotate.annotations",
    f"{_CORE}.annotate.truth": f"{_CORE}.annotate.gold_masks",
    f"{_CORE}.annotate_images": "tasks.annotate_images",
    f"{_CORE}.data.coco": f"{_CORE}.sources.coco",
    f"{_CORE}.data.own_images": f"{_CORE}.sources.own_images",
    f"{_CORE}.data.referring": f"{_CORE}.sources.referring",
    f"{_CORE}.data.refshapes": f"{_CORE}.refshapes",
    f"{_CORE}.data.views": f"{_CORE}.sources.coco",
    f"{_CORE}.data.web": f"{_CORE}.fetch",
    f"{_CORE}.training.gspo": f"{_CORE}.training.objectives",
    f"{_CORE}.predict": "tasks.predict",
}
"""Former name of a module or package -> its name."""
_RENAMED = {
    "annotated_truth": "annotated_gold_masks",
    "annotated_views": "annotated_images",
    "match_truth": "match_gold_masks",
    "read_truth": "read_gold_masks",
    "TrueInstance": "GoldMask",
}


class _Former(Loader):
    def __init__(self, name: str) -> None:
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        found = importlib.import_module(self._name)
        warnings.warn(f"{module.__name__} is {self._name} now", DeprecationWarning, stacklevel=2)
        old_names = {old: getattr(found, new) for old, new in _RENAMED.items() if hasattr(found, new)}
        module.__dict__.update({**vars(found), **old_names, "__name__": module.__name__, "__spec__": module.__spec__})


class _Finder(MetaPathFinder):
    """Asked first: folders of former packages, empty but for bytecode, may still lie about."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(_CORE):
            return None
        for former, now in MOVED.items():
            if name == former or name.startswith(f"{former}."):
                inside = now + name.removeprefix(former)
                return ModuleSpec(name, _Former(inside), is_package=name == former)
        return None


def install() -> None:
    """Answer to former names in this interpreter."""
    sys.meta_path.insert(0, _Finder())
