"""What robots.txt closes stays closed, read as RFC 9309 says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simpleseg_core.data.web._robots import parse_robots
from tests.data.web.server import Server, jpeg
from tests.data.web.test_fetch import fetch, reason

AGENT = "simpleseg-ingest"


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
    ],
)
def test_rules(text: str, path: str, open_: bool) -> None:
    assert parse_robots(text, AGENT).allows(path) is open_


def test_hostile_patterns_are_matched_in_linear_time() -> None:
    rules = parse_robots("User-agent: *\nDisallow: /" + "*a" * 200 + "$", AGENT)
    assert rules.allows("/" + "a" * 4000 + "b")
    assert not rules.allows("/" + "a" * 4000)


@settings(deadline=None)
@given(st.text("ab/*$", max_size=8), st.text("ab/", max_size=8))
def test_patterns_mean_what_the_regular_expression_means(pattern: str, path: str) -> None:
    body = ".*".join(re.escape(part) for part in ("/" + pattern).removesuffix("$").split("*"))
    expected = re.match(body + ("$" if pattern.endswith("$") else ""), "/" + path, re.DOTALL) is None
    assert parse_robots(f"User-agent: *\nDisallow: /{pattern}", AGENT).allows("/" + path) is expected


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
