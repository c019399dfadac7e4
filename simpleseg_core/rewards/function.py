"""The reward function of a batch of answers: the weighted sum and each term."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.config.rewards import RewardConfig
from simpleseg_core.geometry import Polygon, Region, Rle
from simpleseg_core.grammar import parse_polygons
from simpleseg_core.rewards import terms

_log = logging.getLogger(__name__)

_WARM_UP: tuple[str, Rle] = (
    "[[[0,0],[1000,0],[1000,1000]],[[0,500],[500,1000],[0,1000]]]",
    {"size": [8, 8], "counts": "0P2"},
)


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """Rewards of n answers: the total (n,) and each term's value (n,), all in [0, 1], and how many answers failed."""

    total: NDArray[np.float64]
    terms: dict[str, NDArray[np.float64]]
    failed: int


class RewardFunction:
    """Rewards as the configuration weighs them; the total is divided by the sum of weights, so that it lies in [0, 1].

    An answer that cannot be read, or that has more points or parts than allowed, is worth 0. So is one that fails: it
    raised, or took longer than `item_timeout_s`; those are counted.
    """

    def __init__(self, config: RewardConfig) -> None:
        self._config = config
        self._weights = {name: weight for name, weight in dict(config.weights).items() if weight > 0}
        # Compilation must not eat the time of the first answers.
        self._score(*_WARM_UP)

    def __call__(self, texts: Sequence[str], truths: Sequence[Rle]) -> RewardBatch:
        """Score answers against true masks, in threads: the pixel work holds no lock.

        Raises:
            ValueError: there are not as many truths as answers.
        """
        if len(texts) != len(truths):
            raise ValueError(f"{len(texts)} answers but {len(truths)} true masks: pass one for each")
        values = {name: np.zeros(len(texts)) for name in self._weights}
        executor = ThreadPoolExecutor(self._config.workers)
        try:
            waiting = [executor.submit(self._score, text, truth) for text, truth in zip(texts, truths, strict=True)]
            failed = sum(not self._collect(i, item, values) for i, item in enumerate(waiting))
        finally:
            # A thread that hangs is left behind; waiting for it would hang the batch.
            executor.shutdown(wait=False, cancel_futures=True)
        weighted = sum((self._weights[name] * value for name, value in values.items()), np.zeros(len(texts)))
        return RewardBatch(weighted / sum(self._weights.values()), values, failed)

    def _collect(self, i: int, item: "Future[dict[str, float]]", values: dict[str, NDArray[np.float64]]) -> bool:
        try:
            scored = item.result(timeout=self._config.item_timeout_s)
        except Exception as error:
            _log.warning("the reward of answer %d failed and is 0: %r", i, error)
            return False
        for name, value in scored.items():
            values[name][i] = value
        return True

    def _score(self, text: str, truth: Rle) -> dict[str, float]:
        config, target = self._config, Region.from_truth(truth)
        parsed = parse_polygons(text)
        points = sum(map(len, parsed.polygons))
        if parsed.error is not None or points > config.max_points or len(parsed.polygons) > config.max_parts:
            return {}
        found = Region.from_polygons(parsed.polygons, target.height, target.width)
        computed = self._terms(text, parsed.polygons, points, found, target)
        return {name: computed[name]() for name in self._weights}

    def _terms(
        self, text: str, polygons: Sequence[Polygon], points: int, found: Region, target: Region
    ) -> dict[str, Callable[[], float]]:
        config = self._config
        return {
            "iou": lambda: terms.iou_term(found, target),
            "distance": lambda: terms.distance_term(found, target),
            "format": lambda: terms.format_term(text, found, config.style),
            "length": lambda: terms.length_term(points, found, target, config.max_points),
            "boundary": lambda: terms.boundary_term(found, target, config.boundary_width),
            "parts": lambda: terms.parts_term(polygons, found, target),
        }
