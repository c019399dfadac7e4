"""robots.txt by RFC 9309: which URLs of a host are closed to us, remembered within bounds."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from protego import Protego
from yarl import URL

from simpleseg_core.fetch._status import Refused

MAX_BYTES = 500 * 1024
"""What RFC 9309 asks a crawler to read at least, and what we read of it at most."""
MAX_RULES = 10_000
"""A host that closes more to us one by one is closed as a whole."""
_KEPT_BYTES = 128 * 2**20
"""Memory for the rules of all hosts."""
_HOST_BYTES, _RULE_BYTES, _PATTERN_BYTES = 3_000, 500, 1_500
"""What the rules of a host cost, and each of them more, without and with wildcards: as measured, and a little above."""

_AGENT = re.compile(r"\s*user[- ]?agent\s*[:\s]\s*([^#]*)", re.IGNORECASE)
_CLOSED = ["Disallow: /"]


class Rules:
    """What a robots.txt says to one agent; without a text, that everything is open."""

    def __init__(self, text: str = "", agent: str = "*") -> None:
        """Of a file only the groups that concern us are parsed: the parser multiplies all agents by all rules."""
        lines = _ours(text.lstrip("\ufeff"), agent.lower())
        lines = lines if len(lines) <= MAX_RULES else _CLOSED
        self._parsed = Protego.parse("\n".join(["User-agent: *", *lines]))
        self.bytes = _HOST_BYTES + sum(map(_cost, lines))

    def allows(self, url: URL) -> bool:
        """Whether a URL is open: the longest rule that matches decides, `allow` wins a tie."""
        return self._parsed.can_fetch(str(url), "*")


class RobotsCache:
    """The rules of the hosts that were asked about last, in bounded memory; each is fetched once while it is known."""

    def __init__(self, fetch: Callable[[URL], Awaitable[Rules]]) -> None:
        """`fetch` gets the rules of an origin; that it was refused is remembered too."""
        self._fetch = fetch
        self._known: OrderedDict[URL, Rules | Refused] = OrderedDict()
        self._pending: dict[URL, asyncio.Task[Rules | Refused]] = {}
        self._bytes = 0

    async def rules(self, origin: URL) -> Rules:
        """The rules of an origin.

        Raises:
            Refused: they cannot be had, and why.
        """
        if origin in self._known:
            self._known.move_to_end(origin)
            answer = self._known[origin]
        else:
            if origin not in self._pending:
                self._pending[origin] = asyncio.create_task(self._learn(origin))
            # One image that runs out of time must not cancel what others wait for.
            answer = await asyncio.shield(self._pending[origin])
        if isinstance(answer, Refused):
            raise Refused(*answer.args)  # a new one: each raising would make the traceback of the old one longer
        return answer

    async def close(self) -> None:
        """Give up what is being fetched."""
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn(self, origin: URL) -> Rules | Refused:
        try:
            answer: Rules | Refused = await self._fetch(origin)
        except Refused as refused:
            answer = Refused(*refused.args)
        finally:
            del self._pending[origin]
        self._known[origin] = answer
        self._bytes += _size(answer)
        while self._bytes > _KEPT_BYTES:
            _, forgotten = self._known.popitem(last=False)
            self._bytes -= _size(forgotten)
        return answer


def _ours(text: str, agent: str) -> list[str]:
    """The rules of the groups that name an agent by its product token, or else of those for all agents."""
    found: dict[str, list[str]] = {}
    named: set[str] = set()
    ended = True
    for line in text.splitlines():
        if match := _AGENT.match(line):
            named = (set() if ended else named) | {match[1].partition("/")[0].strip().lower()}
            ended = False
            for name in named & {agent, "*"}:
                found.setdefault(name, [])
        elif rule := line.partition("#")[0].strip():
            ended = True
            for name in named & {agent, "*"}:
                found[name].append(rule)
    return found.get(agent, found.get("*", []))


def _cost(rule: str) -> int:
    return (_PATTERN_BYTES if "*" in rule or "$" in rule else _RULE_BYTES) + 12 * len(rule)


def _size(answer: Rules | Refused) -> int:
    return answer.bytes if isinstance(answer, Rules) else _HOST_BYTES
