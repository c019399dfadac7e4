"""Bytes that may be held at once, whoever holds them."""

import asyncio
from collections import deque


class ByteBudget:
    """So many bytes for all; who wants more than are free waits, first come, first served."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> int:
        """Wait until so many bytes are free, or all of them where it asks for more, and take them.

        Returns:
            How many were taken; they have to be given back.
        """
        size = min(size, self._total)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            raise
        return size

    def give_back(self, size: int) -> None:
        """Let others have bytes that were taken."""
        self._free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done() and size > self._free:
                return
            self._waiting.popleft()
            if not turn.done():
                self._free -= size
                turn.set_result(None)
