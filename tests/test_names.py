"""What a name that is not known may have meant, among the keys of the configuration and among names without dots."""

import pytest

from simpleseg_core.config.files import keys
from simpleseg_core.names import did_you_mean


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sft.lr", "`sft.optimizer.lr`"),  # by its letters alone: `sft.lora`
        ("optimizer.lr", "`pretrain.optimizer.lr` or `sft.optimizer.lr` or `rl.optimizer.lr`"),
        ("tolerance", "`contour.tolerance`"),
        ("contour.tol", "`contour.tolerance`"),  # by its letters alone: `contour.holes`
        ("rl.max_tok", "`rl.rollout.max_tokens`"),
        ("contour.tolerence", "`contour.tolerance`"),
        ("tolerence", "`contour.tolerance`"),
        ("segment.tolerance", "`contour.tolerance`"),
    ],
)
def test_a_key_that_is_short_or_misspelt(typed: str, meant: str) -> None:
    assert did_you_mean(typed, keys()) == f", did you mean {meant}?"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("test", ", did you mean `testA` or `testB`?"),
        ("tets", ""),
        ("vall", ", did you mean `val`?"),
        ("", ""),
        ("x" * 10_000, ""),
    ],
)
def test_a_name_without_dots(typed: str, meant: str) -> None:
    assert did_you_mean(typed, ["testA", "testB", "val"]) == meant


def test_a_key_that_nothing_resembles_has_no_hint() -> None:
    assert did_you_mean("quux.frobnicate", keys()) == ""
