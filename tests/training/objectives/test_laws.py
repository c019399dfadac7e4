"""The laws of ratios, divergences and advantages that objectives are made of, and of GSPO's clip."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.training.objectives import (
    Answers,
    Surrogate,
    group_advantages,
    has_variance,
    kl_k3,
    log_ratio,
    objective,
    sequence_mean,
    token_logps,
)

LOW, HIGH = 3e-4, 4e-4
seeds = st.integers(0, 10_000)


def batch(seed: int, answers: int = 6, tokens: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probabilities (float64), a right-padded mask, and advantages."""
    generator = torch.Generator().manual_seed(seed)
    logps = -torch.rand(answers, tokens, generator=generator, dtype=torch.float64) * 4
    lengths = torch.randint(1, tokens + 1, (answers,), generator=generator)
    mask = torch.arange(tokens) < lengths[:, None]
    advantages = torch.randn(answers, generator=generator, dtype=torch.float64)
    return logps, mask, advantages


def gspo(logps: torch.Tensor, old: torch.Tensor, mask: torch.Tensor, advantages: torch.Tensor) -> Surrogate:
    return objective("gspo").surrogate(Answers(logps, old, mask, advantages, LOW, HIGH, 9, 5.0))


def moved(log_ratios: torch.Tensor, advantages: torch.Tensor) -> Surrogate:
    """GSPO of answers of one token each."""
    column = log_ratios[:, None]
    return gspo(column, torch.zeros_like(column), torch.ones_like(column, dtype=torch.bool), advantages)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_on_policy_gradient_is_reinforce_with_length_normalisation(seed: int) -> None:
    logps, mask, advantages = batch(seed)
    policy = logps.clone().requires_grad_()
    gspo(policy, logps, mask, advantages).objective.sum().backward()
    reinforce = logps.clone().requires_grad_()
    (sequence_mean(reinforce, mask) * advantages).sum().backward()
    torch.testing.assert_close(policy.grad, reinforce.grad)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 5))
def test_padding_changes_nothing(seed: int, extra: int) -> None:
    logps, mask, _ = batch(seed)
    old = logps - 0.01
    garbage = torch.full((len(logps), extra), 1e3, dtype=logps.dtype)
    padded = [torch.cat([values, garbage * sign], 1) for values, sign in ((logps, 1), (old, -1))]
    longer = torch.cat([mask, torch.zeros(len(mask), extra, dtype=torch.bool)], 1)
    torch.testing.assert_close(log_ratio(*padded, longer), log_ratio(logps, old, mask))
    torch.testing.assert_close(kl_k3(*padded, longer), kl_k3(logps, old, mask))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-0.1, 0.1), st.integers(2, 6))
def test_ratio_does_not_grow_with_length(seed: int, shift: float, repeats: int) -> None:
    """The guard against summing over the sequence: one change of every token is one ratio at any length."""
    logps, mask, _ = batch(seed)
    short = log_ratio(logps + shift, logps, mask)
    long = log_ratio((logps + shift).repeat(1, repeats), logps.repeat(1, repeats), mask.repeat(1, repeats))
    torch.testing.assert_close(short, torch.full_like(short, shift))
    torch.testing.assert_close(long, short)


def test_clip_stops_only_updates_that_went_far_enough() -> None:
    log_ratios = torch.tensor([1e-3, 1e-3, -1e-3, -1e-3, 1e-4, -1e-4], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, 1.0])
    result = moved(log_ratios, advantages)
    result.objective.sum().backward()
    assert result.clipped.tolist() == [1, 0, 0, 1, 0, 0]
    assert log_ratios.grad is not None
    assert (log_ratios.grad == 0).tolist() == (result.clipped == 1).tolist()


def test_clip_range_is_asymmetric() -> None:
    just_inside = torch.tensor([3.5e-4, -2.5e-4])
    just_outside = torch.tensor([4.5e-4, -3.5e-4])
    advantages = torch.tensor([1.0, -1.0])
    assert not moved(just_inside, advantages).clipped.any()
    assert moved(just_outside, advantages).clipped.all()


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans())
def test_advantages_follow_a_permutation_of_the_group(seed: int, normalise: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(4, 8, generator=generator, dtype=torch.float64)
    order = torch.randperm(8, generator=generator)
    permuted = group_advantages(rewards[:, order], normalise, 0.0)
    torch.testing.assert_close(permuted, group_advantages(rewards, normalise, 0.0)[:, order])
    torch.testing.assert_close(permuted.sum(-1), torch.zeros(4, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
def test_normalised_advantages_ignore_scale_and_offset_of_rewards(seed: int, scale: float, offset: float) -> None:
    rewards = torch.rand(3, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(
        group_advantages(rewards * scale + offset, True, 0.0), group_advantages(rewards, True, 0.0)
    )


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_normalised_advantages_have_a_standard_deviation_of_one(seed: int) -> None:
    rewards = torch.rand(3, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spreads = group_advantages(rewards, True, 0.0).square().mean(-1).sqrt()
    torch.testing.assert_close(spreads, torch.ones(3, dtype=torch.float64))


def test_equal_rewards_teach_nothing() -> None:
    rewards = torch.tensor([[0.3] * 4, [0.1, 0.2, 0.3, 0.4]])
    assert has_variance(rewards, 0.0).tolist() == [False, True]
    assert group_advantages(rewards, True, 0.0)[0].tolist() == [0.0] * 4


def test_differences_below_the_spread_are_noise() -> None:
    rewards = torch.tensor([[0.9500, 0.9501, 0.9502, 0.9503], [0.95, 0.95, 0.95, 0.97]])
    assert has_variance(rewards, 0.01).tolist() == [False, True]
    assert group_advantages(rewards, True, 0.01)[0].tolist() == [0.0] * 4


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(1e-3, 0.5), st.floats(1e-3, 1.0))
def test_no_advantage_is_larger_than_the_difference_in_spreads(seed: int, width: float, spread: float) -> None:
    rewards = 0.4 + width * torch.rand(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ranges = rewards.amax(-1) - rewards.amin(-1)
    assert (group_advantages(rewards, True, spread).abs().amax(-1) <= ranges / spread + 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_kl_is_zero_on_itself_and_positive_elsewhere(seed: int) -> None:
    logps, mask, _ = batch(seed)
    other, _, _ = batch(seed + 1)
    assert kl_k3(logps, logps, mask).abs().max() == 0
    assert (kl_k3(logps, other, mask) > 0).all()


def test_policy_is_what_is_sampled() -> None:
    """Temperature and forbidden tokens are part of the distribution, which sums to one over what is allowed."""
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    forbidden = torch.tensor([1, 6])
    every = torch.stack([token_logps(logits, torch.full((2, 3), i), 0.7, forbidden) for i in range(7)], -1)
    torch.testing.assert_close(every.exp().sum(-1), torch.ones(2, 3))
    assert torch.isneginf(every[..., forbidden]).all()
    allowed = [0, 2, 3, 4, 5]
    torch.testing.assert_close(every[..., allowed], (logits[..., allowed] / 0.7).log_softmax(-1))
