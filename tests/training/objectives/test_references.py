"""Every objective, value for value and gradient for gradient, against slow loops written from its formula.

A reference takes one answer as lists of floats and is differentiated numerically. `frozen` are the log-probabilities
behind a stop-gradient: equal to `logps`, but held while those are moved.
"""

from collections.abc import Callable, Sequence
from math import copysign, exp

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simpleseg_core.training.objectives import OBJECTIVES, Answers, Rewards, objective

Row = Sequence[float]
Reference = Callable[[Row, Row, Row, float, float, float], float]
"""(logps, frozen, old_logps, advantage, clip_low, clip_high) -> objective of one answer."""

MAX_TOKENS, MEAN_TOKENS = 12, 5.5


def clip(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def ratio_of(logps: Row, old: Row) -> float:
    product = 1.0
    for logp, before in zip(logps, old, strict=True):
        product *= exp(logp) / exp(before)
    return product ** (1 / len(logps))


def gspo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    s = ratio_of(logps, old)
    return min(s * a, clip(s, 1 - low, 1 + high) * a)


def gspo_token(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    total = 0.0
    for logp, held in zip(logps, frozen, strict=True):
        s = ratio_of(frozen, old) * exp(logp) / exp(held)
        total += min(s * a, clip(s, 1 - low, 1 + high) * a)
    return total / len(logps)


def luspo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    return len(logps) * gspo(logps, frozen, old, a, low, high)


def gmpo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    sign, product = copysign(1.0, a), 1.0
    for logp, before in zip(logps, old, strict=True):
        powered = (exp(logp) / exp(before)) ** sign
        bounds = sorted((exp(-low) ** sign, exp(high) ** sign))
        product *= min(powered, clip(powered, *bounds)) ** sign
    return product ** (1 / len(logps)) * a


def tokens(logps: Row, old: Row, a: float, low: float, high: float) -> list[float]:
    ratios = [exp(logp) / exp(before) for logp, before in zip(logps, old, strict=True)]
    return [min(r * a, clip(r, 1 - low, 1 + high) * a) for r in ratios]


def grpo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    return sum(tokens(logps, old, a, low, high)) / len(logps)


def dr_grpo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    return sum(tokens(logps, old, a, low, high)) / MAX_TOKENS


def sapo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    tau, total = (1.0 if a > 0 else 1.05), 0.0
    for logp, before in zip(logps, old, strict=True):
        total += 4 / tau / (1 + exp(-tau * (exp(logp) / exp(before) - 1))) * a
    return total / len(logps)


def cispo(logps: Row, frozen: Row, old: Row, a: float, low: float, high: float) -> float:
    total = 0.0
    for logp, held, before in zip(logps, frozen, old, strict=True):
        total += clip(exp(held) / exp(before), 1 - low, 1 + high) * a * logp
    return total / MEAN_TOKENS


REFERENCES: dict[str, Reference] = {
    "gspo": gspo, "gspo_token": gspo_token, "luspo": luspo, "gmpo": gmpo, "grpo": grpo, "maxrl": grpo, "gdpo": grpo,
    "dr_grpo": dr_grpo, "sapo": sapo, "cispo": cispo,
}  # fmt: skip


def batch(seed: int, shift: float, clip_range: tuple[float, float], size: int = 8) -> Answers:
    """Random answers of 1 to 9 tokens, off-policy by about `shift` a token."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 10, size)
    old = -4 * random.random((size, 9))
    logps = old + shift * random.standard_normal((size, 9))
    mask = np.arange(9) < lengths[:, None]
    return Answers(
        torch.tensor(np.where(mask, logps, 77.0), requires_grad=True),
        torch.tensor(np.where(mask, old, -55.0)),
        torch.tensor(mask),
        torch.tensor(random.standard_normal(size)),
        clip_low=clip_range[0], clip_high=clip_range[1], max_tokens=MAX_TOKENS, mean_tokens=MEAN_TOKENS,
    )  # fmt: skip


def by_loops(reference: Reference, answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Objectives (B,) and their sum's gradient (B, T), by central differences."""
    step, size = 1e-6, answers.mask.shape[1]
    values, gradient = np.zeros(len(answers.mask)), np.zeros(answers.mask.shape)
    for i, length in enumerate(answers.mask.sum(1).tolist()):
        logps, old = answers.logps[i, :length].tolist(), answers.old_logps[i, :length].tolist()
        rest = (logps, old, float(answers.advantages[i]), answers.clip_low, answers.clip_high)
        values[i] = reference(logps, *rest)
        for t in range(min(length, size)):
            up, down = ([x + sign * step * (u == t) for u, x in enumerate(logps)] for sign in (1, -1))
            gradient[i, t] = (reference(up, *rest) - reference(down, *rest)) / (2 * step)
    return values, gradient


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0], ids=["on-policy", "near", "far"])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_value_and_gradient_are_those_of_the_formula(name: str, shift: float) -> None:
    row = objective(name)
    for seed in range(5):
        # On-policy the ranges of GSPO's size must stay wider than the step of the differences.
        answers = batch(seed, shift, row.clip)
        result = row.surrogate(answers)
        result.objective.sum().backward()
        values, gradient = by_loops(REFERENCES[name], answers)
        np.testing.assert_allclose(result.objective.detach(), values, rtol=1e-9)
        assert answers.logps.grad is not None
        np.testing.assert_allclose(answers.logps.grad, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"sapo", "cispo"}))
def test_what_is_called_clipped_gives_no_gradient(name: str) -> None:
    row = objective(name)
    answers = batch(0, 1.0, row.clip, size=64)
    result = row.surrogate(answers)
    result.objective.sum().backward()
    assert answers.logps.grad is not None
    silent = ((answers.logps.grad == 0) & answers.mask).sum(1) / answers.mask.sum(1)
    assert 0 < float(result.clipped.mean()) < 1
    torch.testing.assert_close(result.clipped, silent.to(result.clipped.dtype))


def test_on_policy_five_objectives_are_one_gradient() -> None:
    """What the choice among them changes shows only with several minibatches a rollout batch."""
    gradients = {}
    for name in ("gspo", "gspo_token", "gmpo", "grpo", "sapo"):
        answers = batch(1, 0.0, objective(name).clip)
        objective(name).surrogate(answers).objective.sum().backward()
        gradients[name] = answers.logps.grad
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients["gspo"], msg=name)


def rewards(seed: int, normalise_std: bool) -> Rewards:
    """Three groups of five, with two terms; the last group has one reward only."""
    random = np.random.default_rng(seed)
    terms = {"iou": random.random((3, 5)), "format": (random.random((3, 5)) > 0.4).astype(float)}
    terms = {name: np.where(np.arange(3)[:, None] == 2, 0.5, values) for name, values in terms.items()}
    total = (terms["iou"] + 0.1 * terms["format"]) / 1.1
    tensors = {name: torch.tensor(values) for name, values in terms.items()}
    weights = {"iou": 1.0, "format": 0.1, "length": 0.0}
    return Rewards(torch.tensor(total), tensors, weights, normalise_std, min_spread=0.01)


def normalised(group: Row, divide: bool) -> list[float]:
    mean = sum(group) / len(group)
    deviation = (sum((r - mean) ** 2 for r in group) / len(group)) ** 0.5
    return [(r - mean) / (max(deviation, 0.01) if divide else 1) for r in group]


def expected_advantages(name: str, given: Rewards) -> list[list[float]]:
    groups: list[list[float]] = given.total.tolist()
    if name == "maxrl":
        return [[a / (sum(group) / len(group)) for a in normalised(group, False)] for group in groups]
    if name == "gdpo":
        terms = {term: values.tolist() for term, values in given.terms.items()}
        parts = [
            [sum(given.weights[t] * normalised(terms[t][g], True)[i] for t in terms) for i in range(len(group))]
            for g, group in enumerate(groups)
        ]
        flat = [value for part in parts for value in part]
        deviation = (sum(value**2 for value in flat) / len(flat)) ** 0.5
        return [[value / deviation for value in part] for part in parts]
    return [normalised(group, given.normalise_std and name != "dr_grpo") for group in groups]


@pytest.mark.parametrize("normalise_std", [False, True])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_advantages_are_those_of_the_formula(name: str, normalise_std: bool) -> None:
    for seed in range(5):
        given = rewards(seed, normalise_std)
        found = objective(name).advantages(given)
        np.testing.assert_allclose(found, expected_advantages(name, given), rtol=1e-9, atol=1e-12)
        assert found[2].tolist() == [0.0] * 5
