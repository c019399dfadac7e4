"""The reward function of a batch of answers: the weighted sum and each term."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.geometry import Rle, connected_parts, decode_rle, polygons_to_mask
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.rewards import terms

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """Rewards of n answers: the total (n,), each weighted term's value (n,) in [0, 1], and how many answers failed."""

    total: NDArray[np.float64]
    terms: dict[str, NDArray[np.float64]]
    failed: int


class RewardFunction:
    """Rewards as the configuration weighs them; the total is divided by the sum of weights and so in [0, 1]."""

    def __init__(self, config: RewardConfig) -> None:
        self._config = config
        self._weights = {name: weight for name, weight in dict(config.weights).items() if weight > 0}

    def __call__(self, texts: Sequence[str], truths: Sequence[Rle]) -> RewardBatch:
        """Score answers against true masks; an answer that cannot be scored is worth 0 and counted in `failed`."""
        values = {name: np.zeros(len(texts)) for name in self._weights}
        failed = 0
        for i, (text, truth) in enumerate(zip(texts, truths, strict=True)):
            try:
                item = self._score(text, truth)
            except Exception:
                _log.exception("reward of answer %d failed", i)
                failed += 1
                continue
            for name, value in item.items():
                values[name][i] = value
        weights = sum(self._weights.values())
        total = sum((self._weights[name] * value for name, value in values.items()), np.zeros(len(texts))) / weights
        return RewardBatch(total, values, failed)

    def _score(self, text: str, truth: Rle) -> dict[str, float]:
        config = self._config
        parsed = parse_polygons(text)
        if parsed.error is not None:
            return dict.fromkeys(self._weights, 0.0)
        target = decode_rle(truth)
        prediction = polygons_to_mask(parsed.polygons, *target.shape)
        compute = {
            "iou": lambda: terms.iou_term(parsed.polygons, target),
            "distance": lambda: terms.distance_term(prediction, target),
            "format": lambda: terms.format_term(text, config.style, config.max_points, config.max_parts),
            "length": lambda: terms.length_term(parsed, config.max_points),
            "boundary": lambda: terms.boundary_term(prediction, target, config.boundary_width),
            "parts": lambda: terms.parts_term(len(parsed.polygons), len(connected_parts(target))),
        }
        return {name: compute[name]() for name in self._weights}
