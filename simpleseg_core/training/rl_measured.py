"""What the workers of the trainer measure on their answers, and the curves that come of it.

Shapes: B answers of a micro-batch; what is measured of each is (B,).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of single answers, and of whole workers, under the names of their curves."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, **values: Sequence[float]) -> None:
        for name, items in values.items():
            self.values[name].extend(items)

    def add_where(self, keep: Tensor, **values: Sequence[float] | Tensor) -> None:
        """Add only what stands at a true place of `keep`, bool (B,)."""
        kept = keep.nonzero()[:, 0].tolist()
        for name, items in values.items():
            found = items.tolist() if isinstance(items, Tensor) else items
            self.values[name].extend(found[i] for i in kept)

    @staticmethod
    def gathered(parts: Sequence["Measured"]) -> "Measured":
        """What several workers have measured."""
        whole = Measured()
        for part in parts:
            whole.add(**part.values)
        return whole

    def summary(self) -> dict[str, float]:
        """The mean of everything, and the greatest size of what may stray."""
        means = {name: float(np.mean(items)) for name, items in self.values.items() if name != "answer"}
        strays = {
            f"{name}_max": max(map(abs, self.values[name])) for name in ("ratio_deviation", "engine_gap") if means
        }
        spread = {"ratio_std": float(np.std(self.values["ratio"]))} if means else {}
        return means | strays | spread
