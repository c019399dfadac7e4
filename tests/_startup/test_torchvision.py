"""The torchvision hook: it is in place in every interpreter, and its non-maximum suppression is the right one."""

import subprocess
import sys

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core._startup.torchvision import nms


def _iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def _brute_force(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(_iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30), threshold=st.sampled_from([0.1, 0.3, 0.5, 0.9]))
def test_nms_agrees_with_brute_force(seed: int, count: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    corner = random.integers(0, 16, (count, 2))
    boxes = np.concatenate([corner, corner + random.integers(1, 16, (count, 2))], axis=1).astype(float).tolist()
    scores = random.integers(0, 5, count).astype(float).tolist()
    kept = nms(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), torch.tensor(scores), threshold)
    assert kept.tolist() == _brute_force(boxes, scores, threshold)


def test_torchvision_offers_nms_per_class() -> None:
    from torchvision.ops import batched_nms

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 9.5]])
    kept = batched_nms(boxes, torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 0, 1]), 0.5)
    assert kept.tolist() == [1, 2]


def test_a_bare_interpreter_imports_qwens_image_processor() -> None:
    code = "from transformers import Qwen2VLImageProcessor; print(Qwen2VLImageProcessor().patch_size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "14"


def test_start_up_imports_nothing_heavy() -> None:
    code = "import sys; print(sorted({'numpy', 'torch', 'pydantic', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
