"""How fast a stage goes, over all its runs: a killed one goes on where it was, and so does its clock."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from simpleseg_core.files import read_state, write_json
from simpleseg_core.stages._parts import IMAGES, DonePart

_FILE = "speed.json"


@dataclass(slots=True)
class _Totals:
    images: float = 0
    instances: float = 0
    seconds: float = 0
    """By the clock on the wall."""
    busy: float = 0
    """Seconds that engines worked, all together."""


class Speed:
    """Images and instances a second, the share of the time that the engines were at work, and what that costs."""

    def __init__(self, path: Path, mark: str, engines: int, price: float) -> None:
        self._path, self._mark, self._engines, self._price = path, mark, engines, price
        state = read_state(path)
        self._totals = _Totals(**state["totals"]) if state.get("mark") == mark else _Totals()
        self._last = time.monotonic()

    @classmethod
    def resume(cls, work: Path, mark: str, engines: int, price: float) -> Self:
        """Go on from what earlier runs of the same work left in the folder `work`.

        Args:
            work: private folder of the stage.
            mark: what the work depends on; with another one the count starts anew.
            engines: devices in use.
            price: of one device for an hour.
        """
        return cls(work / _FILE, mark, engines, price)

    @property
    def images(self) -> int:
        """Images so far."""
        return int(self._totals.images)

    def add(self, parts: Sequence[DonePart]) -> None:
        """Count the parts of a shard that is finished now."""
        now = time.monotonic()
        self._totals.seconds += now - self._last
        self._last = now
        for part in parts:
            self._totals.images += part.counts[IMAGES]
            self._totals.instances += len(part.rows)
            self._totals.busy += part.seconds
        write_json(self._path, {"mark": self._mark, "totals": asdict(self._totals)})

    def metrics(self) -> dict[str, float]:
        """Rates, empty before the first shard; the cost is that of the devices, in the currency of the price."""
        total = self._totals
        if not total.images or not total.seconds:
            return {}
        rate = total.images / total.seconds
        return {
            "images_per_second": rate,
            "instances_per_second": total.instances / total.seconds,
            "device_share": min(1.0, total.busy / (total.seconds * self._engines)),
            "cost_per_million_images": 1e6 / rate / 3600 * self._engines * self._price,
        }
