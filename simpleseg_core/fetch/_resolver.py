"""Name lookups for the HTTP client: what is resolved is checked, and what is checked is connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from simpleseg_core.fetch._addresses import AddressPolicy
from simpleseg_core.fetch._status import Refused, Status

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Host name -> its addresses as text; raises OSError when there are none."""

_LOOKUP_THREADS = 16
_UNKNOWN_KEPT = 100_000
"""Names that do not exist, remembered."""


class SystemLookup:
    """The operating system's resolver, in threads of its own so that slow names do not hold up the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="dns")

    async def __call__(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        infos = await loop.run_in_executor(self._threads, _getaddrinfo, host)
        return list(dict.fromkeys(infos))


class CheckedResolver(AbstractResolver):
    """Looks a name up, refuses it if any of its addresses is not public, and remembers names that do not exist."""

    def __init__(self, policy: AddressPolicy, lookup: Lookup | None = None) -> None:
        self._policy = policy
        self._lookup = lookup or SystemLookup()
        self._unknown: dict[str, str] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses to connect to.

        Raises:
            Refused: `dns` when there are none, `address` when one of them is not public.
        """
        route = self._policy.route(host, port)
        if route is not None:
            return [_result(host, *route)]
        if host in self._unknown:
            raise Refused(Status.DNS, self._unknown[host])
        try:
            addresses = await self._lookup(host)
        except (OSError, UnicodeError) as error:
            if len(self._unknown) >= _UNKNOWN_KEPT:
                self._unknown.pop(next(iter(self._unknown)))
            self._unknown[host] = f"{host}: {error}"
            raise Refused(Status.DNS, self._unknown[host]) from error
        for address in addresses:
            self._policy.check_address(address, host, port)
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Nothing to release."""


def _getaddrinfo(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
