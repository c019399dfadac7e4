"""Lets the CUDA build of torchvision, the one on PyPI, import beside a CPU build of torch.

Its `_C.so` is linked to libtorch_cuda, which a CPU torch lacks, so its operators are never declared and importing
`torchvision._meta_registrations` raises "operator torchvision::nms does not exist". Just before that module is
imported we declare what it asks for and give non-maximum suppression, the one operator that inference on the CPU
needs, a kernel of our own. With a build of torchvision that loads, nothing happens.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.library import Library

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list["Library"] = []  # operators live as long as the library object that declared them


def install() -> None:
    """Watch for the import of torchvision; idempotent, and free for a process that never imports it."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


class _Watcher(MetaPathFinder):
    """Finds no module itself: it acts at the one moment between torchvision's loading and its use of the operators."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision._meta_registrations":
            sys.meta_path.remove(self)
            _declare_operators(sys.modules["torchvision.extension"])
        return None


def _declare_operators(extension: Any) -> None:
    if extension._has_ops():
        return
    from torch.library import Library

    library = Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CPU")
    _libraries.append(library)
    # The guard in front of every operator: ours works, and the others still say that they do not exist.
    extension._assert_has_ops = lambda: None


def nms(boxes: "Tensor", scores: "Tensor", iou_threshold: float) -> "Tensor":
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) xyxy corners.
        scores: (N,) the higher, the earlier kept; equal scores keep their order.
        iou_threshold: a box is dropped when its IoU with a kept one is greater than this.

    Returns:
        (K,) int64 indices of the kept boxes, by falling score.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order]
    overlaps = _pairwise_iou(corners) > iou_threshold
    alive = torch.ones(len(corners), dtype=torch.bool)
    for index in range(len(corners)):
        if alive[index]:
            alive[index + 1 :] &= ~overlaps[index, index + 1 :]
    return order[alive]


def _pairwise_iou(boxes: "Tensor") -> "Tensor":
    import torch

    top_left = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return intersection / (areas[:, None] + areas[None, :] - intersection)
