"""How hard servers are pressed: requests in flight, a global rate, pauses that servers ask for."""

import asyncio
import random
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._status import Refused

_GIVE_UP_AFTER = 20
"""Failures in a row after which a host is asked for no more rows, but for one now and then."""
_ASK_AGAIN_S = 60.0
_TROUBLES_KEPT = 50_000
"""Hosts whose failures are remembered."""


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    users: int = 0
    closed_until: float = 0.0


@dataclass(slots=True)
class _Trouble:
    """A host that fails, and when it may be asked once more after it was given up."""

    failures: int
    last: Refused
    ask_again_at: float = 0.0


class GivenUpError(Refused):
    """A row of a host that failed too often: not asked for, with the status of the last failure."""

    @property
    def worth_a_retry(self) -> bool:
        """Not now; another run may try."""
        return False


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
        self._troubles: OrderedDict[str, _Trouble] = OrderedDict()
        self._rate = _Rate(1 / limits.rate) if limits.rate else None

    @asynccontextmanager
    async def admit(self, host: str) -> AsyncIterator[None]:
        """Wait until one more request to a host may be made, and count it until the block ends.

        Raises:
            GivenUpError: the host has failed too often in a row.
        """
        state = self._hosts[host]
        state.users += 1
        try:
            async with state.slots:
                await _sleep_until(state.closed_until)
                async with self._all:
                    self._check(host)
                    if self._rate:
                        await self._rate.wait()
                    with self._watch(host):
                        yield
        finally:
            state.users -= 1
            if not state.users and state.closed_until <= asyncio.get_running_loop().time():
                del self._hosts[host]

    def _check(self, host: str) -> None:
        trouble, now = self._troubles.get(host), asyncio.get_running_loop().time()
        if trouble is None or trouble.failures < _GIVE_UP_AFTER:
            return
        if now < trouble.ask_again_at:
            why = f"{host} was given up after {trouble.failures} failures in a row"
            raise GivenUpError(trouble.last.status, f"{why}: {trouble.last.detail}")
        trouble.ask_again_at = now + _ASK_AGAIN_S

    @contextmanager
    def _watch(self, host: str) -> Iterator[None]:
        """Count the failures of a host in a row; any answer that no other try would change ends the row."""
        try:
            yield
        except Refused as refused:
            if not refused.worth_a_retry:
                self._troubles.pop(host, None)
            else:
                self._fail(host, refused)
            raise
        self._troubles.pop(host, None)

    def _fail(self, host: str, refused: Refused) -> None:
        trouble = self._troubles.setdefault(host, _Trouble(0, refused))
        trouble.failures, trouble.last = trouble.failures + 1, Refused(*refused.args)
        if trouble.failures == _GIVE_UP_AFTER:
            trouble.ask_again_at = asyncio.get_running_loop().time() + _ASK_AGAIN_S
        self._troubles.move_to_end(host)
        if len(self._troubles) > _TROUBLES_KEPT:
            self._troubles.popitem(last=False)

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
