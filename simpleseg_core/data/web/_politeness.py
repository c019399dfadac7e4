"""How hard servers are pressed: requests in flight, a global rate, pauses that servers ask for."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from simpleseg_core.config import IngestConfig
from simpleseg_core.data.web._status import Refused


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    users: int = 0
    closed_until: float = 0.0


@dataclass(slots=True)
class _Rate:
    """Hands out moments in time at equal distances."""

    interval: float
    next_moment: float = field(default=0.0)

    async def wait(self) -> None:
        now = asyncio.get_running_loop().time()
        self.next_moment = max(self.next_moment, now)
        pause = self.next_moment - now
        self.next_moment += self.interval
        if pause > 0:
            await asyncio.sleep(pause)


class Politeness:
    """Admits requests: first by host, so that a slow one never takes the place of others, then by global limits."""

    def __init__(self, limits: IngestConfig) -> None:
        self._limits = limits
        self._all = asyncio.Semaphore(limits.concurrency)
        self._hosts: dict[str, _Host] = defaultdict(lambda: _Host(asyncio.Semaphore(limits.per_host)))
        self._rate = _Rate(1 / limits.rate) if limits.rate else None

    @asynccontextmanager
    async def admit(self, host: str) -> AsyncIterator[None]:
        """Wait until one more request to a host may be made, and count it until the block ends."""
        state = self._hosts[host]
        state.users += 1
        try:
            async with state.slots:
                await _sleep_until(state.closed_until)
                async with self._all:
                    if self._rate:
                        await self._rate.wait()
                    yield
        finally:
            state.users -= 1
            if not state.users and state.closed_until <= asyncio.get_running_loop().time():
                del self._hosts[host]

    def pause(self, refused: Refused, attempt: int, host: str) -> float | None:
        """Seconds before the next try of an image, None to give up.

        Exponential backoff with full jitter; where the server names a pause, that one, and the host stays closed.
        """
        if refused.retry_after is not None:
            asked = min(refused.retry_after, self._limits.max_retry_after_s)
            self._hosts[host].closed_until = asyncio.get_running_loop().time() + asked
        if attempt >= self._limits.retries or not refused.worth_a_retry:
            return None
        if refused.retry_after is None:
            return random.uniform(0, self._limits.backoff_s * 2**attempt)
        return refused.retry_after if refused.retry_after <= self._limits.max_retry_after_s else None


async def _sleep_until(moment: float) -> None:
    pause = moment - asyncio.get_running_loop().time()
    if pause > 0:
        await asyncio.sleep(pause)
