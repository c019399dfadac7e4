"""The gradient noise scale is the one that a quadratic of known noise has, whatever the micro-batches."""

from itertools import chain

import pytest
import torch

from simpleseg_core.training.noise import GradientNoise
from simpleseg_core.training.samples import Conversation, StepBatches

DIMENSIONS, SIGNAL, NOISE = 2000, 3.0, 0.5
"""|G|, and the standard deviation of one sample's gradient in each dimension."""
TRUE_SCALE = DIMENSIONS * NOISE**2 / SIGNAL**2


def watch(sizes: list[int], steps: int, spread: float = 0.0) -> list[dict[str, float]]:
    """Curves of a run on mean(|p - x|^2) / 2 over samples x, at p with |p| = SIGNAL, in micro-batches of some sizes.

    `spread` moves the samples of one micro-batch together, as an order by length does.
    """
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.full((DIMENSIONS,), SIGNAL / DIMENSIONS**0.5, dtype=torch.float64))
    noise, curve = GradientNoise([parameter]), []
    for _ in range(steps):
        shifts = torch.linspace(-spread, spread, len(sizes)).tolist()
        for size, shift in zip(sizes, shifts, strict=True):
            samples = NOISE * torch.randn(size, DIMENSIONS, generator=generator, dtype=torch.float64) + shift
            ((parameter - samples).square().sum() / 2 / sum(sizes)).backward()
            noise.add(size)
        curve.append(noise.close())
        parameter.grad = None
    return curve


@pytest.mark.parametrize("sizes", [[16] * 8, [64, 64], [40, 8, 80], [1] * 128], ids=str)
def test_the_scale_is_that_of_the_noise(sizes: list[int]) -> None:
    last = watch(sizes, steps=30)[-1]
    assert last["noise_scale"] == pytest.approx(TRUE_SCALE, rel=0.2)
    assert last["gradient_signal"] == pytest.approx(1 / (1 + TRUE_SCALE / sum(sizes)), rel=0.2)


def test_micro_batches_that_differ_by_more_than_chance_look_like_noise() -> None:
    """Why measured steps are not ordered by length."""
    assert watch([16] * 8, 30, spread=0.2)[-1]["noise_scale"] > 2 * TRUE_SCALE


def test_one_micro_batch_tells_nothing() -> None:
    assert watch([128], steps=2) == [{}, {}]


class Lengths:
    """Conversations whose answers shrink and grow again."""

    def __getitem__(self, index: int) -> Conversation:
        return Conversation(None, ("q",), ("a" * (1 + index * 7 % 16),))  # type: ignore[arg-type]


def test_measured_steps_mix_lengths_and_lose_no_conversation() -> None:
    def spreads(step: int) -> tuple[list[int], int]:
        batches = StepBatches(Lengths(), list, 16, 4, 0, 1, mixed_every=2)[step]  # type: ignore[arg-type]
        lengths = [[len(item.answers[0]) for item in batch] for batch in batches]  # type: ignore[attr-defined]
        assert sorted(chain.from_iterable(lengths)) == list(range(1, 17))
        return lengths[0], max(max(batch) - min(batch) for batch in lengths)

    assert spreads(0) == ([1, 2, 3, 4], 3)
    assert spreads(1)[1] > 6
