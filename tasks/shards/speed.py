"""How fast a stage goes, over all its runs: a killed one goes on where it was, and so does its clock."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from simpleseg_core.files import read_state, write_json
from tasks.shards.parts import IMAGES, DonePart

_FILE = "speed.json"


@dataclass(slots=True)
class _Totals:
    images: float = 0
    instances: float = 0
    seconds: float = 0
    """By the clock on the wall."""
    busy: float = 0
    """Seconds that engines worked, all together."""
    held: float = 0
    """Seconds by the clock times the engines that there were."""


class Speed:
    """Images and instances a second, the share of the time that the engines were at work, and what that costs."""

    def __init__(self, path: Path, mark: str, price: float) -> None:
        self._path, self._mark, self._price = path, mark, price
        state = read_state(path)
        self._totals = _Totals(**state["totals"]) if state.get("mark") == mark else _Totals()
        self._engines: set[str] = set()
        self._last = time.monotonic()

    @classmethod
    def resume(cls, work: Path, mark: str, price: float) -> Self:
        """Go on from what earlier runs of the same work left in the folder `work`.

        Args:
            work: private folder of the stage.
            mark: what the work depends on; with another one the count starts anew.
            price: of one engine's device for an hour.
        """
        return cls(work / _FILE, mark, price)

    @property
    def images(self) -> int:
        """Images so far."""
        return int(self._totals.images)

    def add(self, parts: Sequence[DonePart]) -> None:
        """Count the parts of a shard that is finished now."""
        now = time.monotonic()
        self._engines |= {part.engine for part in parts}
        self._totals.seconds += now - self._last
        self._totals.held += (now - self._last) * len(self._engines)
        self._last = now
        for part in parts:
            self._totals.images += part.counts[IMAGES]
            self._totals.instances += len(part.rows)
            self._totals.busy += part.seconds
        write_json(self._path, {"mark": self._mark, "totals": asdict(self._totals)})

    def metrics(self) -> dict[str, float]:
        """Rates, empty before the first shard; the cost is that of the devices, in the currency of the price."""
        total = self._totals
        if not total.images or not total.held:
            return {}
        return {
            "images_per_second": total.images / total.seconds,
            "instances_per_second": total.instances / total.seconds,
            "device_share": min(1.0, total.busy / total.held),
            "cost_per_million_images": 1e6 * total.held / total.images / 3600 * self._price,
        }
