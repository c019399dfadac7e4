"""What is not finite stops the run, with its batch kept and the way on named."""

from math import inf, nan
from pathlib import Path

import pytest
import torch

from simpleseg_core.training.finite import require_finite


@pytest.mark.parametrize(("loss", "norm"), [(nan, 1.0), (inf, 1.0), (-inf, 1.0), (1.0, nan), (1.0, inf)])
def test_loss_and_gradient_must_be_finite(tmp_path: Path, loss: float, norm: float) -> None:
    batch = {"ids": torch.arange(3), "answers": [(1, 2)]}
    with pytest.raises(FloatingPointError, match=r"rl: step 7 .*rl\.optimizer\.lr"):
        require_finite(loss, norm, 7, batch, tmp_path, "rl")
    (file,) = tmp_path.rglob("*.pt")
    kept = torch.load(file, weights_only=True)
    assert kept["step"] == 7
    assert kept["batch"]["ids"].tolist() == [0, 1, 2]
    assert kept["batch"]["answers"] == [(1, 2)]


def test_what_is_finite_leaves_nothing(tmp_path: Path) -> None:
    require_finite(-3.0, 1e30, 1, {}, tmp_path, "sft")
    assert not list(tmp_path.iterdir())
