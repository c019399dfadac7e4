"""A step that would ruin the weights is not taken: its batch is kept, and the run says what to try."""

from math import isfinite
from pathlib import Path
from typing import Any

import torch

from simpleseg_core.files import replacing


def require_finite(loss: float, grad_norm: float, step: int, batch: Any, work: Path, section: str) -> None:
    """Refuse a step whose loss or gradient is NaN or infinite; called between gradient and update.

    Args:
        step: number of the step, from 1.
        batch: what the step was computed from: tensors, numbers and texts in lists, tuples and dictionaries.
        work: the stage's working folder; the batch is kept there, for `torch.load(file, weights_only=True)`.
        section: of the configuration, to name settings by.

    Raises:
        FloatingPointError: one of the two is not finite.
    """
    if isfinite(loss) and isfinite(grad_norm):
        return
    file = work / "not-finite" / f"step-{step:06d}.pt"
    with replacing(file) as partial:
        torch.save({"step": step, "loss": loss, "grad_norm": grad_norm, "batch": batch}, partial)
    raise FloatingPointError(
        f"{section}: step {step} was not taken, for its loss is {loss:g} and its gradient's norm {grad_norm:g}; the "
        f"checkpoints are as they were, and the batch is kept in {file}. Look at the batch for odd samples, then try a "
        f"lower {section}.optimizer.lr, a longer warmup_ratio, a smaller grad_clip, or model.dtype float32"
    )
