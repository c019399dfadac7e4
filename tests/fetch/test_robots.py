"""What robots.txt closes stays closed, read as RFC 9309 says."""

import asyncio
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from simpleseg_core.fetch import _robots
from simpleseg_core.fetch._robots import MAX_BYTES, MAX_RULES, RobotsCache, Rules
from tests.fetch.server import Server, jpeg
from tests.fetch.test_fetch import fetch, reason

AGENT = "simpleseg-ingest"


def allows(text: str, path: str) -> bool:
    return Rules(text, AGENT).allows(URL(f"http://a.org{path}", encoded=True))


@pytest.mark.parametrize(
    ("text", "path", "open_"),
    [
        ("", "/a.jpg", True),
        ("User-agent: *\nDisallow: /", "/a.jpg", False),
        ("User-agent: *\nDisallow:", "/a.jpg", True),
        ("user-agent: *\ndisallow: /private/", "/private/a.jpg", False),
        ("User-agent: *\nDisallow: /private/", "/a.jpg", True),
        ("User-agent: otherbot\nDisallow: /", "/a.jpg", True),
        ("User-agent: simpleseg-ingest\nDisallow: /\n\nUser-agent: *\nAllow: /", "/a.jpg", False),
        ("User-agent: SimpleSeg-Ingest\nAllow: /\n\nUser-agent: *\nDisallow: /", "/a.jpg", True),
        ("User-agent: a\nUser-agent: simpleseg-ingest\nDisallow: /", "/a.jpg", False),
        ("User-agent: simpleseg-ingest\nDisallow: /a\n\nUser-agent: simpleseg-ingest\nDisallow: /b", "/b.jpg", False),
        ("User-agent: *\nDisallow: /\nAllow: /img/", "/img/a.jpg", True),
        ("User-agent: *\nAllow: /\nDisallow: /img/", "/img/a.jpg", False),
        ("User-agent: *\nAllow: /p\nDisallow: /p", "/p", True),
        ("User-agent: *\nDisallow: /*.gif$", "/x/a.gif", False),
        ("User-agent: *\nDisallow: /*.gif$", "/x/a.gif?size=2", True),
        ("User-agent: *\nDisallow: /*?size=", "/x/a.gif?size=2", False),
        ("User-agent: *\nDisallow: /a$", "/a", False),
        ("User-agent: *\nDisallow: /a$", "/ab", True),
        ("User-agent: *\nDisallow: /a*a$", "/a", True),
        ("\ufeffUser-agent: * # everyone\nDisallow: / # all", "/a.jpg", False),
        ("User-agent: *\r\nCrawl-delay: 5\r\nDisallow: /\r\nSitemap: http://x/", "/a.jpg", False),
        ("<html>not found</html>", "/a.jpg", True),
        ("User-agent: simpleseg-ingest/1.0\nDisallow: /", "/a.jpg", False),
        ("User-agent: simpleseg\nDisallow: /", "/a.jpg", True),
        ("User-agent: *\nUser-agent: other\nAllow: /\nDisallow: /b", "/b.jpg", False),
        ("User-agent: *\nDisallow: /a\n\nUser-agent: other\nDisallow: /", "/b.jpg", True),
        # percent-encoding (RFC 9309, 2.2.2)
        ("User-agent: *\nDisallow: /caf\u00e9/", "/caf%C3%A9/a.jpg", False),
        ("User-agent: *\nDisallow: /caf%C3%A9/", "/caf%c3%a9/a.jpg", False),
        ("User-agent: *\nDisallow: /a%3cd", "/a%3Cd/b.jpg", False),
        ("User-agent: *\nDisallow: /%62ar", "/bar/a.jpg", False),
        ("User-agent: *\nDisallow: /bar", "/%62ar/a.jpg", False),
        ("User-agent: *\nDisallow: /a%2Fb", "/a/b.jpg", True),
        ("User-agent: *\nDisallow: /*.%67if$", "/x/a.gif", False),
        ("User-agent: *\nDisallow: //closed", "//closed/a.jpg", False),
    ],
)
def test_rules(text: str, path: str, open_: bool) -> None:
    assert allows(text, path) is open_


def test_hostile_patterns_are_matched_in_linear_time() -> None:
    text = "User-agent: *\nDisallow: /" + "*a" * 200 + "$"
    assert allows(text, "/" + "a" * 4000 + "b")
    assert not allows(text, "/" + "a" * 4000)


def test_agents_are_not_multiplied_by_rules() -> None:
    """All in half a megabyte; each rule kept for each agent would take gigabytes and minutes."""
    agents = "".join(f"User-agent: a{number}\n" for number in range(10_000))
    rules = "".join(f"Disallow: /{number}\n" for number in range(MAX_RULES - 1))
    assert len(agents + rules) < MAX_BYTES
    assert allows(agents + rules, "/1/a.jpg")
    assert not allows(f"{agents}User-agent: *\n{rules}", "/1/a.jpg")


def test_a_host_with_more_rules_than_are_kept_is_closed() -> None:
    rules = "".join(f"Disallow: /{number}\n" for number in range(MAX_RULES + 1))
    assert not allows(f"User-agent: *\n{rules}", "/open/a.jpg")
    assert allows(f"User-agent: *\nDisallow: /closed\n\nUser-agent: other\n{rules}", "/open/a.jpg")


@pytest.mark.parametrize("rule", ["/a{}", "/*a{}$", "/{}?x=*", "/caf\u00e9" * 8 + "{}", "/*" * 20 + "{}$"])
@pytest.mark.parametrize("count", [1, 20, 500])
def test_rules_take_no_more_memory_than_they_count_for(rule: str, count: int) -> None:
    text = "User-agent: *\n" + "".join(f"Disallow: {rule.format(number)}\n" for number in range(count))
    hosts = max(2, 100 // count)
    tracemalloc.start()
    found = [Rules(text, AGENT) for _ in range(hosts)]
    assert all(rules.allows(URL("http://a.org/open.jpg")) for rules in found)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used <= sum(rules.bytes for rules in found)


def test_the_rules_of_hosts_asked_about_long_ago_go(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "User-agent: *\n" + "".join(f"Disallow: /*{number}$\n" for number in range(100))
    size = Rules(text, AGENT).bytes
    monkeypatch.setattr(_robots, "_KEPT_BYTES", 3 * size)
    asked = []

    async def fetch_rules(origin: URL) -> Rules:
        asked.append(str(origin.host))
        return Rules(text, AGENT)

    async def run() -> None:
        cache = RobotsCache(fetch_rules)
        for host in ("a", "b", "c", "a", "d", "a", "b"):
            await cache.rules(URL(f"http://{host}"))

    asyncio.run(run())
    assert asked == ["a", "b", "c", "d", "b"]


def test_of_a_long_robots_txt_the_first_half_megabyte_counts(server: Server) -> None:
    text = b"User-agent: *\nDisallow: /closed/\n" + b"# talk\n" * 80_000 + b"Disallow: /late/\n"
    server.image("/robots.txt", text, kind="text/plain")
    server.image("/open/a.jpg", jpeg())
    server.image("/late/a.jpg", jpeg())
    assert reason(server, "/closed/a.jpg", honour_robots=True) == "robots"
    assert fetch(server, "/open/a.jpg", honour_robots=True).body == jpeg()
    assert fetch(server, "/late/a.jpg", honour_robots=True).body == jpeg()


def test_what_is_closed_is_closed_in_every_spelling(server: Server) -> None:
    server.image("/robots.txt", b"User-agent: *\nDisallow: /closed/", kind="text/plain")
    for path in ("/closed/a.jpg", "/%63losed/a.jpg", "/open/../closed/a.jpg", "/open/%2E%2e/cl%6Fsed/a.jpg"):
        assert reason(server, path, honour_robots=True) == "robots"
    assert set(server.requests) == {"/robots.txt"}


@settings(deadline=None)
@given(st.text("ab/*$", max_size=8), st.text("ab/", max_size=8))
def test_patterns_mean_what_the_regular_expression_means(pattern: str, path: str) -> None:
    body = ".*".join(re.escape(part) for part in ("/" + pattern).removesuffix("$").split("*"))
    expected = re.match(body + ("$" if pattern.endswith("$") else ""), "/" + path, re.DOTALL) is None
    assert allows(f"User-agent: *\nDisallow: /{pattern}", "/" + path) is expected


def test_a_closed_path_is_not_requested(server: Server) -> None:
    server.image("/robots.txt", b"User-agent: *\nDisallow: /closed/", kind="text/plain")
    server.image("/closed/a.jpg", jpeg())
    assert reason(server, "/closed/a.jpg", honour_robots=True) == "robots"
    assert server.requests == ["/robots.txt"]
    assert fetch(server, "/closed/a.jpg", honour_robots=False).body == jpeg()


def test_a_redirect_into_a_closed_path_is_not_followed(server: Server) -> None:
    server.image("/robots.txt", b"User-agent: *\nDisallow: /closed/", kind="text/plain")
    server.image("/a.jpg", b"", status=302, headers={"Location": "/closed/a.jpg"})
    assert reason(server, "/a.jpg", honour_robots=True) == "robots"


@pytest.mark.parametrize("code", [404, 403, 410])
def test_a_host_without_rules_is_open(server: Server, code: int) -> None:
    server.image("/robots.txt", b"", status=code)
    server.image("/a.jpg", jpeg())
    assert fetch(server, "/a.jpg", honour_robots=True).body == jpeg()


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_host_whose_rules_cannot_be_had_is_closed_for_now(server: Server, code: int) -> None:
    server.image("/robots.txt", b"", status=code)
    server.image("/a.jpg", jpeg())
    assert reason(server, "/a.jpg", honour_robots=True) == f"http_{code}"
