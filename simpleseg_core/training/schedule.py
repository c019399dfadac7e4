"""The learning-rate schedule: linear warm-up, then half a cosine down to the floor."""

from math import cos, pi

from simpleseg_core.config import OptimizerConfig


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """Rate at a step (from 0) of `steps`; the first step is above zero and the last one is near `min_lr`."""
    warmup = round(config.warmup_ratio * steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + cos(pi * min(1.0, progress)))


def is_due(step: int, every: int) -> bool:
    """Whether a step (from 0) is measured: the last of every so many; 0 is never."""
    return every > 0 and (step + 1) % every == 0
