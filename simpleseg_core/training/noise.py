"""The gradient noise scale: how many samples a step needs for its gradient to be more signal than noise.

McCandlish et al., "An Empirical Model of Large-Batch Training" (arXiv 1812.06162), appendix A.1. With G the true
gradient and S the trace of one sample's covariance, the squared norm of a gradient over B samples is |G|^2 + S / B on
average; two batch sizes, here micro-batches and their whole, give both. B = S / |G|^2 is the simple noise scale, and
the batch that it recommends: far smaller ones step along noise, far larger ones waste samples.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_MEMORY = 0.9
"""Of the averages over measured steps: S and |G|^2 are averaged each by itself, for their ratio alone is biased."""


class GradientNoise:
    """Watches the gradients of some steps grow, micro-batch by micro-batch.

    The micro-batches of a measured step must be random parts of its batch: ordered by length, as they are otherwise,
    they differ by more than noise. A run that goes on from a checkpoint begins its averages anew.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._before: dict[int, Tensor] = {}
        self._parts: list[tuple[float, float]] = []
        self._noise = self._signal = 0.0

    def add(self, samples: float) -> None:
        """Take what a micro-batch of so many samples added to the gradient; called behind its backward pass."""
        added = [self._difference(i, p.grad) for i, p in enumerate(self._parameters) if p.grad is not None]
        self._parts.append((samples, _squared_norm(added)))
        self._before = {i: p.grad.detach().clone() for i, p in enumerate(self._parameters) if p.grad is not None}

    def close(self) -> dict[str, float]:
        """End the step, whose gradient is the mean over its samples; empty where one micro-batch was all of it.

        Returns:
            noise_scale: B, in samples; left out while no signal is seen.
            gradient_signal: share of the step's squared gradient that is signal, |G|^2 / (|G|^2 + S / batch).
        """
        parts, whole = self._parts, _squared_norm(list(self._before.values()))
        self._parts, self._before = [], {}
        batch = sum(samples for samples, _ in parts)
        if len(parts) < 2:
            return {}
        self._noise, self._signal = _MEMORY * self._noise, _MEMORY * self._signal
        for samples, added in parts:
            # It added samples / batch of its own mean gradient.
            own, share = added * (batch / samples) ** 2, samples / batch
            self._noise += share * (own - whole) / (1 / samples - 1 / batch)
            self._signal += share * (batch * whole - samples * own) / (batch - samples)
        if self._signal <= 0:
            return {"gradient_signal": 0.0}
        scale = max(0.0, self._noise / self._signal)
        return {"noise_scale": scale, "gradient_signal": 1 / (1 + scale / batch)}

    def _difference(self, index: int, gradient: Tensor) -> Tensor:
        before = self._before.get(index)
        return gradient.detach() if before is None else gradient.detach() - before


def _squared_norm(tensors: list[Tensor]) -> float:
    """Of all of them together, sharded or not."""
    norm = torch.nn.utils.get_total_norm(tensors)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm) ** 2
