"""The learning rate warms up, peaks, and falls to its floor."""

from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.config import OptimizerConfig
from simpleseg_core.training.schedule import learning_rate

CONFIGS = st.builds(
    lambda lr, floor, warmup: OptimizerConfig(lr=lr, min_lr=lr * floor, warmup_ratio=warmup),
    st.floats(1e-6, 1e-1),
    st.floats(0, 1),
    st.floats(0, 0.5),
)


@given(CONFIGS, st.integers(1, 2000))
def test_the_rate_is_positive_and_never_above_the_maximum(config: OptimizerConfig, steps: int) -> None:
    rates = [learning_rate(step, steps, config) for step in range(steps)]
    assert all(0 < rate <= config.lr * (1 + 1e-9) for rate in rates)
    assert max(rates) >= config.lr * (1 - 1e-9) or steps == 1


@given(CONFIGS, st.integers(10, 2000))
def test_it_rises_then_falls_to_the_floor(config: OptimizerConfig, steps: int) -> None:
    rates = [learning_rate(step, steps, config) for step in range(steps + 1)]
    warmup = round(config.warmup_ratio * steps)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert abs(rates[-1] - config.min_lr) <= 1e-9 * config.lr
