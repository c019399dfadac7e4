"""A step of reinforcement learning on two imaginary prompts, for tests of what is shown of it."""

from typing import Any

import numpy as np
from PIL import Image

from simpleseg_core.geometry import encode_rle
from simpleseg_core.rollout import Completion, Request
from simpleseg_core.training.rl_batch import Group
from simpleseg_core.training.rl_measured import Measured
from simpleseg_core.training.rl_rollout import SampledStep, Scored
from simpleseg_core.training.rl_table import RolloutTable, rollout_table

HOSTILE = '<img src=x onerror="alert(1)">[red]'
IMAGE = Image.new("RGB", (32, 32))


def prompt(index: int) -> dict[str, Any]:
    """A query for the left half of an image of 32 x 32 pixels."""
    mask = np.zeros((32, 32), dtype=bool)
    mask[:, :16] = True
    return {
        "sample": f"p{index}", "image": f"p{index}", "shard": "images/rl.tar", "width": 32, "height": 32,
        "expression": f"shape {index} {HOSTILE}", "kind": "attribute", "question": f"where {HOSTILE}",
        "rle_counts": encode_rle(mask)["counts"],
    }  # fmt: skip


def scored(index: int, rewards: tuple[float, ...], *, trained: bool) -> Scored:
    texts = ["[[[0,0],[500,0],[500,1000],[0,1000]]]", f"[[[0,0 {HOSTILE}", "[]"]
    answers = [Completion(text, (1,) * (5 + i), i != 1, -1.0) for i, text in enumerate(texts)]
    group = Group(Request(IMAGE, "where"), answers, rewards, {"iou": rewards})
    return Scored(prompt(index), group, 6, trained)


def table() -> RolloutTable:
    """Of step 7: a group that went well, one that taught nothing, and one that went badly."""
    groups = [
        scored(0, (1.0, 0.0, 0.5), trained=True),
        scored(1, (0.2, 0.2, 0.2), trained=False),
        scored(2, (0.3, 0.0, 0.0), trained=True),
    ]
    measured = Measured()
    measured.add(answer=[5, 4, 3, 2, 1, 0], ratio=[1.5, 1.4, 1.3, 1.2, 1.1, 1.0])
    return rollout_table(7, SampledStep("permille", groups), measured)
