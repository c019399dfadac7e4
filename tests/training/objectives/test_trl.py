"""Objectives against losses and gradients that TRL 1.16 gave (`write_trl_values.py`), value for value."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from simpleseg_core.training.objectives import Answers, kl_k3, objective

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("trl_values.json").read_text(encoding="utf-8"))


def answers(name: str, batch: dict[str, Any]) -> Answers:
    mask = torch.tensor(batch["mask"])
    low, high = objective(name).clip
    return Answers(
        torch.tensor(batch["logps"], dtype=torch.float64, requires_grad=True),
        torch.tensor(batch["old_logps"], dtype=torch.float64),
        mask,
        torch.tensor(batch["advantages"], dtype=torch.float64),
        clip_low=low, clip_high=high, max_tokens=GOLDEN["max_tokens"], mean_tokens=float(mask.sum()) / len(mask),
    )  # fmt: skip


@pytest.mark.parametrize("drawn", sorted(GOLDEN["batches"]))
@pytest.mark.parametrize("name", sorted(GOLDEN["values"]))
def test_loss_and_gradient_are_trls(name: str, drawn: str) -> None:
    batch, expected = GOLDEN["batches"][drawn], GOLDEN["values"][name][drawn]
    given = answers("gspo" if name == "kl" else name, batch)
    loss = -objective("gspo" if name == "kl" else name).surrogate(given).objective.mean()
    if name == "kl":
        loss = loss + 0.5 * kl_k3(given.logps, torch.tensor(batch["reference"], dtype=torch.float64), given.mask).mean()
    loss.backward()
    assert given.logps.grad is not None
    assert float(loss.detach()) == pytest.approx(expected["loss"], rel=1e-12, abs=1e-15)
    expected_gradient = torch.tensor(expected["gradient"], dtype=torch.float64)
    torch.testing.assert_close(given.logps.grad, expected_gradient, rtol=1e-12, atol=1e-15)
    assert expected_gradient.abs().sum() > 0
