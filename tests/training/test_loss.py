"""The loss in chunks is the plain one, and logits of more tokens than a chunk never exist."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from simpleseg_core.models.architectures import architecture
from simpleseg_core.models.loading import load_model, load_processor
from simpleseg_core.training.collate import IGNORE, Collator
from simpleseg_core.training.loss import answer_losses
from simpleseg_core.training.samples import Conversation
from tests.tiny import TINY, FourColours


class Widest(TorchDispatchMode):
    """Rows of the largest product with so many columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns, self.rows = columns, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default) and out.shape[-1] == self.columns:
            self.rows = max(self.rows, len(out))
        return out


@pytest.mark.parametrize("packing", [0, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_in_chunks_is_the_plain_one(tiny_checkpoint: Path, packing: int, dtype: torch.dtype) -> None:
    model = load_model(tiny_checkpoint, TINY).train()
    collate = Collator(load_processor(tiny_checkpoint, TINY), 512, architecture("qwen2_5_vl"), packing)
    several = Conversation(FourColours()[0].image, ("what", "where"), ("red", "[[100,200],[300,400]]"))
    batch = collate([several, *(FourColours()[index] for index in range(4))])
    labels = batch.labels[:, 1:]
    keep = labels != IGNORE
    found = []
    for chunk in (0, 5, 10_000):
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16), Widest(model.lm_head.out_features) as seen:
            losses = answer_losses(model, model, batch.inputs, keep, labels[keep], chunk)
            losses.sum().backward()
        assert seen.rows == (min(chunk, len(losses)) if chunk else keep.numel() + len(keep))
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        assert all(gradient is not None and gradient.any() for gradient in gradients.values())
        found.append((losses.detach(), gradients))
    near = 1e-5 if dtype is torch.float32 else 2e-2
    for losses, gradients in found[1:]:
        torch.testing.assert_close(losses, found[0][0], rtol=near, atol=near)
        for name, gradient in found[0][1].items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(gradients[name], gradient, rtol=near, atol=near * scale)
    assert model(**batch.inputs).logits.shape[-1] == model.lm_head.out_features, "the head is the old one again"
