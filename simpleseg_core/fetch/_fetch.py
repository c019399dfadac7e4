"""The asynchronous HTTP client: one image body for one URL, within every limit, or the reason why not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from simpleseg_core.config import IngestConfig
from simpleseg_core.fetch._addresses import AddressPolicy, read_as_written
from simpleseg_core.fetch._budget import ByteBudget
from simpleseg_core.fetch._resolver import CheckedResolver, Lookup
from simpleseg_core.fetch._robots import MAX_BYTES, RobotsCache, Rules
from simpleseg_core.fetch._status import Refused, Status, http_status

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TYPES = ("image/", "application/octet-stream", "binary/octet-stream", "application/binary")
_NOT_RASTER = ("image/svg",)
_BODY_BYTES = 256 * 2**20
"""Bytes of bodies that are held at once, from the first one read to the decoded image."""
_NO_AI = frozenset({"noai", "noimageai"})


Reader = Callable[[ClientResponse, asyncio.Timeout], Awaitable[bytes]]
"""What is done with an answer that is no redirect, and how much time is left for it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: the bytes as served and the URL that served them after redirects."""

    body: bytes
    final_url: str


class Fetcher:
    """Fetches URLs; an async context manager that owns the connections."""

    def __init__(
        self, limits: IngestConfig, lookup: Lookup | None = None, routes: Mapping[str, str] | None = None
    ) -> None:
        self._limits = limits
        self._policy = AddressPolicy(limits.allowed_private_hosts, routes)
        self._lookup = lookup
        self._agent = limits.user_agent.partition("/")[0].lower()
        self._budget = ByteBudget(max(_BODY_BYTES, limits.max_bytes))
        self._robots = RobotsCache(self._fetch_robots)
        self._session: ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._policy, self._lookup),
            limit=0,
            ttl_dns_cache=300,
            keepalive_timeout=15,
            socket_factory=self._socket,
        )
        self._session = ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": self._limits.user_agent, "Accept": "image/*", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._robots.close()
        await self._session.close()

    def check(self, url: str) -> URL:
        """The URL as it will be requested.

        Raises:
            Refused: it must not be requested at all.
        """
        return self._policy.check_url(url)

    @asynccontextmanager
    async def fetch(self, url: URL) -> AsyncIterator[Fetched]:
        """Fetch one image, redirects included, in one try; its bytes count as held until the block ends.

        Raises:
            Refused: any reason but those of the image itself.
        """
        held = 0

        async def read(response: ClientResponse, clock: asyncio.Timeout) -> bytes:
            nonlocal held
            self._check_answer(response)
            held = await self._reserve(response, clock)
            body = await self._read_image(response)
            self._budget.give_back(held - len(body))  # of a body whose size was not announced
            held = len(body)
            return body

        try:
            body, final = await self._get(url, read, self._check_robots)
            yield Fetched(body, str(final))
        finally:
            self._budget.give_back(held)

    async def _reserve(self, response: ClientResponse, clock: asyncio.Timeout) -> int:
        """Wait until the body may be held, at its announced size or the largest; that takes no time off its own."""
        loop = asyncio.get_running_loop()
        left = (clock.when() or loop.time()) - loop.time()
        clock.reschedule(None)
        held = await self._budget.take(min(response.content_length or self._limits.max_bytes, self._limits.max_bytes))
        clock.reschedule(loop.time() + left)
        return held

    async def _get(self, url: URL, read: Reader, check: Callable[[URL], Awaitable[None]]) -> tuple[bytes, URL]:
        """What `read` makes of the answer after the redirects, each of which must pass `check`, within the time cap."""
        try:
            async with asyncio.timeout(self._limits.timeout_s) as clock:
                for _ in range(self._limits.max_redirects + 1):
                    await check(url)
                    async with self._session.get(url, allow_redirects=False) as response:
                        location = response.headers.get("Location")
                        if response.status not in _REDIRECTS or location is None:
                            return await read(response, clock), url
                    url = self._redirect(url, location)
        except TimeoutError as error:
            raise Refused(Status.TIMEOUT, f"more than {self._limits.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refusal(error) from error
        raise Refused(Status.REDIRECTS, f"more than {self._limits.max_redirects}")

    async def _check_robots(self, url: URL) -> None:
        if not self._limits.honour_robots:
            return
        rules = await self._robots.rules(url.origin())
        if not rules.allows(url):
            raise Refused(Status.ROBOTS, f"{url.origin()}/robots.txt")

    async def _fetch_robots(self, origin: URL) -> Rules:
        """The rules of a host: all is open where there is none, nothing while they cannot be had (RFC 9309, 2.3.1).

        Raises:
            Refused: the reason why it cannot be had.
        """
        try:
            body, _ = await self._get(origin / "robots.txt", _read_robots, _no_check)
        except Refused as refused:
            absent = refused.status.startswith("http_4") and not refused.worth_a_retry
            if absent or refused.status == Status.REDIRECTS:
                return Rules()
            raise
        return Rules(body.decode("utf-8", "replace"), self._agent)

    def _redirect(self, url: URL, location: str) -> URL:
        try:
            target = url.join(read_as_written(location))
        except (ValueError, UnicodeError) as error:
            raise Refused(Status.BAD_URL, f"redirect: {error}") from error
        return self._policy.check_url(str(target))

    def _check_answer(self, response: ClientResponse) -> None:
        if self._limits.honour_noai:
            _check_reservations(response, self._agent)
        _check_status(response)
        _check_content(response)

    async def _read_image(self, response: ClientResponse) -> bytes:
        body = await _read_body(response, self._limits.max_bytes)
        if not body:
            raise Refused(Status.EMPTY)
        return body

    def _socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        self._policy.check_socket(str(address[0]), int(str(address[1])))
        return socket.socket(family, kind, protocol)


async def _read_body(response: ClientResponse, limit: int) -> bytes:
    if (response.content_length or 0) > limit:
        raise Refused(Status.TOO_LARGE, f"{response.content_length} bytes announced, the limit is {limit}")
    body = await _read_start(response, limit)
    if len(body) > limit:
        raise Refused(Status.TOO_LARGE, f"more than {limit} bytes")
    return body


async def _read_robots(response: ClientResponse, clock: asyncio.Timeout) -> bytes:
    """The whole lines within the limit: a rule that is cut would mean another path."""
    _check_status(response)
    body = await _read_start(response, MAX_BYTES)
    return body if len(body) <= MAX_BYTES else body[:MAX_BYTES].rpartition(b"\n")[0]


async def _read_start(response: ClientResponse, limit: int) -> bytes:
    """A body, of one over the limit some bytes more than that."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return b"".join(chunks)


async def _no_check(url: URL) -> None:
    """robots.txt itself is always open."""


def _check_reservations(response: ClientResponse, agent: str) -> None:
    """Refuse what its owner reserves: `X-Robots-Tag: noai`, for all or for us by name, and TDM-Reservation."""
    for value in response.headers.getall("X-Robots-Tag", []):
        name, colon, rest = value.lower().partition(":")
        directives = rest if colon and name.strip() == agent else value.lower() if not colon else ""
        if found := _NO_AI & {directive.strip() for directive in directives.split(",")}:
            raise Refused(Status.NOAI, f"X-Robots-Tag: {sorted(found)[0]}")
    if response.headers.get("tdm-reservation", "").strip() == "1":
        raise Refused(Status.NOAI, "TDM-Reservation: 1")


def _check_status(response: ClientResponse) -> None:
    if response.status != 200:
        raise Refused(http_status(response.status), response.reason or "", _retry_after(response))


def _retry_after(response: ClientResponse) -> float | None:
    """Seconds that the server asks to wait, given as a number or as a date."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _check_content(response: ClientResponse) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind and (not kind.startswith(_TYPES) or kind.startswith(_NOT_RASTER)):
        raise Refused(Status.CONTENT_TYPE, kind[:100])
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(Status.CONTENT_ENCODING, encoding[:100])


def _refusal(error: Exception) -> Refused:
    """Our reason for an error of the HTTP client."""
    detail = f"{type(error).__name__}: {error}"[:300]
    match error:
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
            return Refused(Status.TLS, detail)
        case aiohttp.ClientConnectorError():
            return Refused(Status.CONNECT, detail)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | aiohttp.ClientPayloadError() | OSError():
            return Refused(Status.CONNECTION_LOST, detail)
        case aiohttp.InvalidURL():
            return Refused(Status.BAD_URL, detail)
        case _:
            return Refused(Status.PROTOCOL, detail)
